import { TreeBuilder } from "./build";
import { framesNamed } from "./callers";
import type { CallTree, FrameTable } from "./decode";

/**
 * What can be done to a call tree, each on the result of those before:
 * `focus`: only the stacks through a function, from its outermost call on;
 * `hide`: without the stacks through it; `merge`: its frame is left out, its value and callees become its caller's;
 * `recursion`: calls of it inside itself are put together with the outermost, and what is between is left out where the stack
 * comes back to it; `module`: frames of a module that call each other are one frame.
 */
export type TransformKind = "focus" | "hide" | "merge" | "recursion" | "module";

export interface Transform {
  readonly kind: TransformKind;
  /** A function's name; for `module` the module. */
  readonly subject: string;
}

/** What one transform did. */
export interface Step {
  readonly transform: Transform;
  /** Value of the stacks that are no longer in the tree. What is left and this are what was there before. */
  readonly removed: number;
  /** Value that the server cut where the transform would have looked for its subject. */
  readonly unseen: number;
  /** Nodes that stood for the subject. */
  readonly touched: number;
}

export interface Transformed {
  readonly tree: CallTree;
  readonly steps: readonly Step[];
  /** By node of the tree given: the node it became, -1 where it is gone. */
  readonly at: Int32Array;
}

const KINDS: readonly TransformKind[] = ["focus", "hide", "merge", "recursion", "module"];
const RECORD_SEPARATOR = "\u001e";

/** Applies transforms in order, each in O(nodes). */
export function applyTransforms(tree: CallTree, transforms: readonly Transform[]): Transformed {
  const steps: Step[] = [];
  let result = tree;
  let at = Int32Array.from({ length: tree.count }, (_, i) => i);
  for (const transform of transforms) {
    const one = apply(result, transform);
    result = one.tree;
    at = at.map((node) => (node < 0 ? -1 : one.at[node]));
    steps.push(one.step);
  }
  return { tree: result, steps, at };
}

/** The transforms as the page's address holds them. */
export function formatTransforms(transforms: readonly Transform[]): string {
  return transforms.map(({ kind, subject }) => `${kind}:${subject}`).join(RECORD_SEPARATOR);
}

/** Reads what formatTransforms wrote; leaves out what it does not know. */
export function parseTransforms(text: string): readonly Transform[] {
  return text.split(RECORD_SEPARATOR).flatMap((part) => {
    const colon = part.indexOf(":");
    const kind = KINDS.find((k) => k === part.slice(0, colon));
    const subject = part.slice(colon + 1);
    return kind && subject !== "" ? [{ kind, subject }] : [];
  });
}

interface Applied {
  readonly tree: CallTree;
  readonly at: Int32Array;
  readonly step: Step;
}

/** The place a node goes to in the new tree: an id of the builder, -1 for nowhere. Callers are asked for before callees. */
type Place = (node: number, to: Int32Array) => number;

function apply(tree: CallTree, transform: Transform): Applied {
  const { kind, subject } = transform;
  const wanted = kind === "module" ? framesIn(tree.frames, subject) : framesNamed(tree, subject);
  const frames = kind === "module" ? withModuleFrame(tree.frames, wanted, subject) : tree.frames;
  const out = new TreeBuilder(frames, tree.frame[0]);
  const place = PLACES[kind](tree, wanted, out);
  const to = new Int32Array(tree.count);
  let removed = 0;
  let unseen = 0;
  let touched = 0;
  for (let i = 0; i < tree.count; i++) {
    to[i] = i === 0 ? 0 : place(i, to);
    touched += wanted[tree.frame[i]];
    if (to[i] < 0 || (i === 0 && kind === "focus")) {
      removed += tree.self[i] + tree.cut[i];
      to[i] = i === 0 ? 0 : to[i];
      if (kind === "focus") unseen += tree.cut[i];
      continue;
    }
    // Only a subject that is left out may be missed in what was cut; elsewhere the cut value stays what it is.
    if (kind === "hide") unseen += tree.cut[i];
    out.add(to[i], tree.self[i], tree.cut[i]);
  }
  const { tree: result, at } = out.build();
  return { tree: result, at: to.map((id) => (id < 0 ? -1 : at[id])), step: { transform, removed, unseen, touched } };
}

const PLACES: Record<TransformKind, (tree: CallTree, wanted: Uint8Array, out: TreeBuilder) => Place> = {
  focus: (tree, wanted, out) => (i, to) => {
    const caller = tree.parent[i] === 0 ? -1 : to[tree.parent[i]];
    if (caller < 0 && wanted[tree.frame[i]] === 0) return -1;
    return out.child(Math.max(0, caller), tree.frame[i]);
  },
  hide: (tree, wanted, out) => (i, to) => {
    const caller = to[tree.parent[i]];
    return caller < 0 || wanted[tree.frame[i]] === 1 ? -1 : out.child(caller, tree.frame[i]);
  },
  merge: (tree, wanted, out) => (i, to) => {
    const caller = to[tree.parent[i]];
    return wanted[tree.frame[i]] === 1 ? caller : out.child(caller, tree.frame[i]);
  },
  recursion: (tree, wanted, out) => {
    // By node: the outermost call of the function among it and its callers, -1 for none.
    const outermost = new Int32Array(tree.count).fill(-1);
    return (i, to) => {
      const open = outermost[tree.parent[i]];
      const same = wanted[tree.frame[i]] === 1;
      outermost[i] = open >= 0 ? open : same ? i : -1;
      return same && open >= 0 ? to[open] : out.child(to[tree.parent[i]], tree.frame[i]);
    };
  },
  module: (tree, wanted, out) => {
    const one = tree.frames.name.length;
    return (i, to) => {
      const caller = to[tree.parent[i]];
      if (wanted[tree.frame[i]] === 0) return out.child(caller, tree.frame[i]);
      return out.frameOf(caller) === one ? caller : out.child(caller, one);
    };
  },
};

function framesIn(frames: FrameTable, module: string): Uint8Array {
  return Uint8Array.from(frames.module, (text) => (text === module ? 1 : 0));
}

// The frame that stands for the module is added last; its name is not that of any function.
function withModuleFrame(frames: FrameTable, wanted: Uint8Array, module: string): FrameTable {
  const like = wanted.indexOf(1);
  return {
    name: [...frames.name, `[${module.slice(module.lastIndexOf("/") + 1).replace(/^\[|\]$/g, "")}]`],
    module: [...frames.module, module],
    file: [...frames.file, ""],
    line: Int32Array.from({ length: frames.line.length + 1 }, (_, i) => frames.line[i] ?? 0),
    kind: [...frames.kind, like < 0 ? "native" : frames.kind[like]],
  };
}
