import { TreeBuilder } from "./build";
import type { CallTree } from "./decode";

/** Who calls a function and what it calls, over all the places where it stands in a tree. */
export interface Relations {
  /** Callers upside down: the function below the root, under it its callers, under these theirs. */
  readonly callers: CallTree;
  /** All callees of the function, merged, below it. */
  readonly callees: CallTree;
  /** Value of the stacks that hold the function, each once however often it recurs in them. */
  readonly total: number;
  readonly self: number;
  /** What was cut outside of the function's subtrees: it may hold further calls of it. */
  readonly unseen: number;
  /** What was cut inside: callees too narrow for the answer. */
  readonly cut: number;
}

/** The callers and callees of every function of this name. A function inside itself counts with its outermost call. */
export function relationsOf(tree: CallTree, name: string): Relations {
  const wanted = framesNamed(tree, name);
  const up = new TreeBuilder(tree.frames, tree.frame[0]);
  const down = new TreeBuilder(tree.frames, tree.frame[0]);
  const sums = { total: 0, self: 0, unseen: 0, cut: 0 };
  for (let i = 0; i < tree.count; ) {
    if (wanted[tree.frame[i]] === 0) {
      sums.unseen += tree.cut[i++];
      continue;
    }
    sums.total += tree.total[i];
    addCallers(up, tree, i);
    addCallees(down, tree, i, (node) => {
      sums.cut += tree.cut[node];
      if (wanted[tree.frame[node]] === 1) sums.self += tree.self[node];
    });
    i = tree.end[i];
  }
  return { callers: up.build().tree, callees: down.build().tree, ...sums };
}

/** By frame index: 1 where the function has this name. */
export function framesNamed(tree: CallTree, name: string): Uint8Array {
  return Uint8Array.from(tree.frames.name, (text) => (text === name ? 1 : 0));
}

// The value stands where the stack begins: at the end of the chain of callers.
function addCallers(up: TreeBuilder, tree: CallTree, node: number): void {
  let id = 0;
  for (let i = node; i > 0; i = tree.parent[i]) id = up.child(id, tree.frame[i]);
  up.add(id, tree.total[node], 0);
}

function addCallees(down: TreeBuilder, tree: CallTree, node: number, onNode: (node: number) => void): void {
  const ids = new Int32Array(tree.end[node] - node);
  for (let i = node; i < tree.end[node]; i++) {
    const id = down.child(i === node ? 0 : ids[tree.parent[i] - node], tree.frame[i]);
    ids[i - node] = id;
    down.add(id, tree.self[i], tree.cut[i]);
    onNode(i);
  }
}
