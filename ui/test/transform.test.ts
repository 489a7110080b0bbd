import { describe, expect, it } from "vitest";
import { relationsOf } from "../src/data/callers";
import { buildTree, decodeProfile, type CallTree } from "../src/data/decode";
import { functionsOf } from "../src/data/functions";
import { applyTransforms, formatTransforms, parseTransforms, type Transform, type TransformKind } from "../src/data/transform";
import { DEFAULTS, formatState, parseState } from "../src/data/url";
import { answerOf, large, names, SMALL, treeOf } from "./tree";

const tree = treeOf(SMALL);
const run = (t: CallTree, kind: TransformKind, subject: string) => applyTransforms(t, [{ kind, subject }]);

/** A random tree over few functions of few modules, with cut values and much recursion. */
function randomTree(seed: number): CallTree {
  let state = seed + 1;
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 4294967296;
  const answer = answerOf(Array.from({ length: 8 }, (_, i) => ({ name: `f${i}`, module: `m${i % 3}` })));
  const nodes = { depth: [0], frame: [0], self: [Math.floor(next() * 3)], cut: [Math.floor(next() * 3)] };
  const grow = (depth: number): void => {
    const children = Array.from({ length: Math.floor(next() * 4) }, () => 1 + Math.floor(next() * 8));
    // The server joins callees of one frame under one caller.
    for (const frame of new Set(children)) {
      nodes.depth.push(depth);
      nodes.frame.push(frame);
      nodes.self.push(Math.floor(next() * 10));
      nodes.cut.push(next() < 0.2 ? Math.floor(next() * 5) : 0);
      if (depth < 9) grow(depth + 1);
    }
  };
  grow(1);
  return buildTree(nodes, decodeProfile(answer).tree.frames);
}

/** All stacks of a tree, root first, with their own value and what was cut below them. */
function stacks(t: CallTree): { path: string[]; modules: string[]; self: number; cut: number }[] {
  return Array.from({ length: t.count }, (_, node) => {
    const frames: number[] = [];
    for (let i = node; i > 0; i = t.parent[i]) frames.unshift(t.frame[i]);
    return { path: frames.map((f) => t.frames.name[f]), modules: frames.map((f) => t.frames.module[f]), self: t.self[node], cut: t.cut[node] };
  });
}

/** The sum by stack, as text; stacks without a value are left out. */
function bag(list: { path: string[]; self: number; cut: number }[]): Map<string, string> {
  const sums = new Map<string, [number, number]>();
  for (const { path, self, cut } of list) {
    const key = path.join(";");
    const [s, c] = sums.get(key) ?? [0, 0];
    sums.set(key, [s + self, c + cut]);
  }
  return new Map([...sums].filter(([, [s, c]]) => s + c > 0).map(([key, [s, c]]) => [key, `${s}+${c}`] as const).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What a transform does to one stack, written the plain way; null where the stack goes. */
const PLAIN: Record<TransformKind, (path: string[], subject: string, modules: string[]) => string[] | null> = {
  focus: (path, subject) => (path.includes(subject) ? path.slice(path.indexOf(subject)) : null),
  hide: (path, subject) => (path.includes(subject) ? null : path),
  merge: (path, subject) => path.filter((name) => name !== subject),
  recursion: (path, subject) => (path.includes(subject) ? [...path.slice(0, path.indexOf(subject)), ...path.slice(path.lastIndexOf(subject))] : path),
  module: (path, subject, modules) => path.map((name, i) => (modules[i] === subject ? `[${subject}]` : name)).filter((name, i, all) => name !== `[${subject}]` || all[i - 1] !== name),
};

const KINDS = Object.keys(PLAIN) as TransformKind[];

describe("transforms", () => {
  it.each(KINDS)("%s does to every stack what it says, and accounts for all that is gone", (kind) => {
    for (let seed = 0; seed < 120; seed++) {
      const before = randomTree(seed);
      const subject = kind === "module" ? `m${seed % 3}` : `f${seed % 8}`;
      const { tree: after, steps: [step] } = run(before, kind, subject);
      const expected = stacks(before).flatMap(({ path, modules, self, cut }) => {
        const result = PLAIN[kind](path, subject, modules);
        return result ? [{ path: result, self, cut }] : [];
      });
      expect(bag(stacks(after))).toEqual(bag(expected));
      expect(after.total[0] + step.removed).toBe(before.total[0]);
      expect(kind === "focus" || kind === "hide" || step.removed === 0).toBe(true);
    }
  });

  it("leave siblings by total descending, and one node for a frame under a caller", () => {
    for (let seed = 0; seed < 60; seed++) {
      const { tree: t } = applyTransforms(randomTree(seed), [{ kind: "merge", subject: "f1" }, { kind: "recursion", subject: "f2" }, { kind: "module", subject: "m0" }]);
      for (let i = 0; i < t.count; i++) {
        const seen = new Set<number>();
        for (let c = i + 1, last = Infinity; c < t.end[i]; last = t.total[c], c = t.end[c]) {
          if (t.total[c] > last || seen.has(t.frame[c])) throw new Error(`node ${c} of tree ${seed} is out of order, or twice`);
          seen.add(t.frame[c]);
        }
      }
    }
  });

  it("in a row are those one after the other, and tell each node's new place", () => {
    const list: Transform[] = [{ kind: "merge", subject: "parse" }, { kind: "hide", subject: "gc" }];
    const { tree: t, steps, at } = applyTransforms(tree, list);
    expect(names(t)).toEqual(["", "main", "lex", "eval", "main"]);
    expect([...t.cut]).toEqual([0, 10, 0, 0, 0]);
    expect(steps.map((s) => [s.removed, s.unseen, s.touched])).toEqual([[0, 0, 1], [5, 10, 1]]);
    expect([...at]).toEqual([0, 1, 1, 2, 3, 4, -1]);
  });

  it("that find nothing change nothing", () => {
    for (const kind of ["hide", "merge", "recursion", "module"] as const) {
      const { tree: t, steps: [step] } = run(tree, kind, "nothing");
      expect([names(t), step.touched, step.removed]).toEqual([names(tree), 0, 0]);
    }
    const { tree: empty, steps: [step] } = run(tree, "focus", "nothing");
    expect([empty.count, empty.total[0], step.removed, step.unseen]).toEqual([1, 0, 100, 10]);
  });

  it("focus has the total that callers and callees tell", () => {
    for (let seed = 0; seed < 40; seed++) {
      const t = randomTree(seed);
      const { tree: focused, steps: [step] } = run(t, "focus", "f3");
      const relations = relationsOf(t, "f3");
      expect(focused.total[0]).toBe(relations.total);
      expect(step.unseen).toBe(relations.unseen);
    }
  });

  it("take a large tree", () => {
    const { tree: big } = decodeProfile(large(100_000));
    const { tree: t } = applyTransforms(big, [{ kind: "merge", subject: "f3" }, { kind: "recursion", subject: "f5" }]);
    expect(t.total[0]).toBeCloseTo(big.total[0], -3);
  });
});

describe("address of transforms", () => {
  it("holds any name", () => {
    const transforms: Transform[] = [{ kind: "hide", subject: "a::b<c>::{{closure}}:1" }, { kind: "module", subject: "/usr/lib/x; y&z=1.so" }];
    expect(parseTransforms(formatTransforms(transforms))).toEqual(transforms);
    const state = { ...DEFAULTS, transforms };
    expect(parseState(formatState(state))).toEqual(state);
  });
  it("is read as far as it is understood", () => {
    expect(parseTransforms("")).toEqual([]);
    expect(parseTransforms("explode:x\u001ehide:\u001ehide:y\u001ehide")).toEqual([{ kind: "hide", subject: "y" }]);
  });
});

describe("functions of a tree", () => {
  it("count a stack once", () => {
    const rows = functionsOf(tree).map((f) => [f.name, f.self, f.total]);
    expect(rows).toEqual([["lex", 50, 50], ["main", 25, 100], ["eval", 10, 30], ["gc", 5, 5], ["parse", 0, 60]]);
  });
  it("agree with callers and callees", () => {
    for (let seed = 0; seed < 40; seed++) {
      const t = randomTree(seed);
      for (const f of functionsOf(t)) {
        const { total, self } = relationsOf(t, f.name);
        expect([f.total, f.self]).toEqual([total, self]);
      }
    }
  });
});
