import { describe, expect, it } from "vitest";
import { DecodeError, decodeProfile } from "../src/data/decode";
import { answerOf, large, names, SMALL, treeOf } from "./tree";

describe("decode", () => {
  const tree = treeOf(SMALL);

  it("derives totals from self and cut", () => {
    expect(names(tree)).toEqual(["", "main", "parse", "lex", "eval", "main", "gc"]);
    expect([...tree.total]).toEqual([100, 100, 60, 50, 30, 20, 5]);
  });

  it("derives starts from preceding siblings", () => {
    expect([...tree.start]).toEqual([0, 0, 0, 0, 60, 60, 90]);
  });

  it("derives parents and subtree ends", () => {
    expect([...tree.parent]).toEqual([-1, 0, 1, 2, 1, 4, 1]);
    expect([...tree.end]).toEqual([7, 7, 4, 4, 6, 6, 7]);
    expect(tree.maxDepth).toBe(3);
  });

  it("holds its invariants on a large tree", () => {
    const { tree: t } = decodeProfile(large(50_000));
    expect(t.count).toBeGreaterThan(20_000);
    for (let i = 1; i < t.count; i++) {
      const p = t.parent[i];
      if (t.depth[p] !== t.depth[i] - 1) throw new Error(`node ${i} is not one deeper than its parent`);
      if (!(p < i && t.end[i] <= t.end[p])) throw new Error(`node ${i} leaves its parent`);
      if (t.start[i] + t.total[i] > t.start[p] + t.total[p] + 1e-3) throw new Error(`node ${i} overflows`);
    }
  });

  it("shows a root without samples", () => {
    const empty = treeOf([]);
    expect([empty.count, empty.total[0], empty.end[0]]).toEqual([1, 0, 1]);
  });

  it.each([
    ["no nodes", { nodes: { depth: [], frame: [], self: [], cut: [] } }],
    ["a first node that is not the root", { nodes: { depth: [1], frame: [0], self: [0], cut: [0] } }],
    ["a depth that jumps", { nodes: { depth: [0, 2], frame: [0, 0], self: [0, 1], cut: [0, 0] } }],
    ["a second root", { nodes: { depth: [0, 0], frame: [0, 0], self: [0, 1], cut: [0, 0] } }],
    ["an unknown frame", { nodes: { depth: [0], frame: [9], self: [0], cut: [0] } }],
    ["columns of different length", { nodes: { depth: [0], frame: [0], self: [], cut: [0] } }],
    ["a string outside the table", { frames: { name: [5], module: [0], file: [0], line: [0], kind: [0] } }],
    ["no strings", { strings: undefined }],
  ])("refuses %s", (_, broken) => {
    expect(() => decodeProfile({ ...answerOf(SMALL), ...broken } as never)).toThrow(DecodeError);
  });
});
