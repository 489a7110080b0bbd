import type { CallTree, FrameTable } from "../data/decode";

export type Matcher = (text: string) => boolean;

/**
 * A matcher for what was typed: a literal regardless of case, or /regex/ with optional flags.
 * Null for an empty text; an error for a broken expression.
 */
export function parseSearch(text: string): Matcher | { error: string } | null {
  if (text === "" || text === "/") return null;
  const regex = /^\/(.+)\/([imsu]*)$/.exec(text);
  if (regex) {
    try {
      const compiled = new RegExp(regex[1], regex[2]);
      return (name) => compiled.test(name);
    } catch (cause) {
      return { error: cause instanceof Error ? cause.message : "not a regular expression" };
    }
  }
  const needle = text.toLowerCase();
  return (name) => name.toLowerCase().includes(needle);
}

/** Which frames match: one look per distinct function, however often it is called. */
export function matchFrames(frames: FrameTable, matcher: Matcher): Uint8Array {
  const out = new Uint8Array(frames.name.length);
  for (let i = 0; i < out.length; i++) if (frames.name[i] !== "" && matcher(frames.name[i])) out[i] = 1;
  return out;
}

/** What a search found under a node. */
export interface Found {
  /** By frame index: 1 where it matches. */
  readonly frames: Uint8Array;
  /** Outermost matching nodes, in preorder: each stands for the matches inside it. */
  readonly hits: Int32Array;
  /** Value of the matching subtrees; a match inside a match counts once. */
  readonly value: number;
  /** Value the server cut outside of matching subtrees: it may hold further matches. */
  readonly unseen: number;
}

/** Finds the matching nodes in the subtree of `root`. */
export function search(tree: CallTree, matching: Uint8Array, root: number): Found {
  const hits: number[] = [];
  let value = 0;
  let unseen = 0;
  let counted = root;
  for (let i = root; i < tree.end[root]; i++) {
    if (i < counted) continue;
    if (matching[tree.frame[i]] === 1) {
      hits.push(i);
      value += tree.total[i];
      counted = tree.end[i];
    } else {
      unseen += tree.cut[i];
    }
  }
  return { frames: matching, hits: Int32Array.from(hits), value, unseen };
}

/** What a text finds in view: the error of a broken expression, null without a search or a graph. */
export function searchIn(view: { tree: CallTree; node: number } | null, text: string): Found | { error: string } | null {
  const matcher = parseSearch(text);
  if (matcher === null || typeof matcher === "object") return matcher;
  return view && search(view.tree, matchFrames(view.tree.frames, matcher), view.node);
}

/** The hits by total descending: the order in which they are worth looking at. */
export function heaviestFirst(tree: CallTree, hits: Int32Array): Int32Array {
  return hits.slice().sort((a, b) => tree.total[b] - tree.total[a] || a - b);
}

/** The hit after (or before) a node in the given order, going round; the first one from elsewhere; -1 where there is none. */
export function nextHit(order: Int32Array, node: number, back: boolean): number {
  const n = order.length;
  if (n === 0) return -1;
  const at = order.indexOf(node);
  if (at < 0) return order[back ? n - 1 : 0];
  return order[(at + (back ? n - 1 : 1)) % n];
}
