import type { FlamegraphAnswer } from "../src/data/answers";
import { decodeProfile, type CallTree } from "../src/data/decode";

/** A call tree written down: name, self, callees, and what the server cut. */
export interface Written {
  name: string;
  self?: number;
  cut?: number;
  module?: string;
  callees?: Written[];
}

/** The API's answer for callees of the root. */
export function answerOf(callees: Written[], rootCut = 0): FlamegraphAnswer {
  const strings = [""];
  const frames = { name: [0], module: [0], file: [0], line: [0], kind: [0] };
  const nodes = { depth: [0], frame: [0], self: [0], cut: [rootCut] };
  const intern = (text: string) => {
    const at = strings.indexOf(text);
    return at >= 0 ? at : strings.push(text) - 1;
  };
  const frameOf = (w: Written) => {
    const name = intern(w.name);
    const module = intern(w.module ?? "app");
    const known = frames.name.findIndex((n, i) => i > 0 && n === name && frames.module[i] === module);
    if (known > 0) return known;
    frames.name.push(name);
    frames.module.push(module);
    frames.file.push(0);
    frames.line.push(0);
    frames.kind.push(1);
    return frames.name.length - 1;
  };
  const add = (list: Written[], depth: number): void => {
    for (const w of list) {
      nodes.depth.push(depth);
      nodes.frame.push(frameOf(w));
      nodes.self.push(w.self ?? 0);
      nodes.cut.push(w.cut ?? 0);
      add(w.callees ?? [], depth + 1);
    }
  };
  add(callees, 1);
  return {
    from: 0, to: 10, type: "cpu", unit: "nanoseconds", total: 0, samples: 1,
    completeness: { samples: 1, lost: {}, lost_total: 0, caveats: {}, truncated: 0, truncated_reasons: {}, unnamed: 0 },
    strings, frames, kinds: ["root", "native"], nodes,
  };
}

export function treeOf(callees: Written[], rootCut = 0): CallTree {
  return decodeProfile(answerOf(callees, rootCut)).tree;
}

/** Names of the nodes, in preorder. */
export function names(tree: CallTree): string[] {
  return Array.from(tree.frame, (f) => tree.frames.name[f]);
}

/**
 * main 100 ─ parse 60 (lex 50 self, 10 cut), eval 30 (self 10, main 20), gc 5 self; 5 self in main.
 * Nodes: 0 root, 1 main, 2 parse, 3 lex, 4 eval, 5 main, 6 gc.
 */
export const SMALL: Written[] = [
  { name: "main", self: 5, callees: [
    { name: "parse", cut: 10, callees: [{ name: "lex", self: 50 }] },
    { name: "eval", self: 10, callees: [{ name: "main", self: 20 }] },
    { name: "gc", self: 5 },
  ] },
];

/** A deterministic tree of many nodes: each with up to `fan` callees, siblings by total descending. */
export function large(count: number, fan = 6): FlamegraphAnswer {
  let seed = 42;
  const next = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 4294967296;
  const answer = answerOf(Array.from({ length: 200 }, (_, i) => ({ name: `f${i}` })));
  const nodes = { depth: [0], frame: [0], self: [0], cut: [0] };
  const grow = (budget: number, value: number, depth: number): void => {
    const width = Math.min(budget, 1 + Math.floor(next() * fan));
    const weights = Array.from({ length: width }, () => next()).sort((a, b) => b - a);
    const sum = weights.reduce((a, b) => a + b, 0);
    for (const w of weights) {
      const share = w / sum;
      nodes.depth.push(depth);
      nodes.frame.push(1 + Math.floor(next() * 200));
      const rest = Math.floor((budget - width) * share);
      const leaf = rest < 1 || depth > 100;
      nodes.self.push(leaf ? value * share : 0);
      nodes.cut.push(0);
      if (!leaf) grow(rest, value * share, depth + 1);
    }
  };
  grow(count, 1e12, 1);
  return { ...answer, nodes };
}
