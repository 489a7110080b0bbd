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
  /** Matching nodes in preorder. */
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
    const hit = matching[tree.frame[i]] === 1;
    if (hit) hits.push(i);
    if (i < counted) continue;
    if (hit) {
      value += tree.total[i];
      counted = tree.end[i];
    } else {
      unseen += tree.cut[i];
    }
  }
  return { frames: matching, hits: Int32Array.from(hits), value, unseen };
}

/** The hit after (or before) a node, going round; -1 where there is none. */
export function nextHit(hits: Int32Array, node: number, back: boolean): number {
  if (hits.length === 0) return -1;
  let lo = 0;
  let hi = hits.length;
  // First hit at or after the node (after it, when going forward).
  const bound = back ? node : node + 1;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (hits[mid] < bound) lo = mid + 1;
    else hi = mid;
  }
  if (back) return hits[(lo - 1 + hits.length) % hits.length];
  return hits[lo % hits.length];
}
