import { describe, expect, it } from "vitest";
import { relationsOf } from "../src/data/callers";
import { decodeProfile } from "../src/data/decode";
import { carryOpen, heavyChain, listRows, moveRow } from "../src/data/treeRows";
import { parseState, formatState, DEFAULTS } from "../src/data/url";
import { large, names, SMALL, treeOf } from "./tree";

const tree = treeOf(SMALL);
const set = (...nodes: number[]) => new Set(nodes);

describe("rows of a call tree", () => {
  it("lists what is open, the heaviest first, and what was cut last", () => {
    expect([...listRows(tree, 0, set(0, 1), true).node]).toEqual([0, 1, 2, 4, 6]);
    expect([...listRows(tree, 0, set(1, 2), false).node]).toEqual([1, 2, 3, ~2, 4, 6]);
    expect([...listRows(tree, 4, set(), true).node]).toEqual([4]);
  });
  it("keeps a chain of only children in line", () => {
    const rows = listRows(tree, 0, set(0, 1, 2, 4), true);
    expect([...rows.node]).toEqual([0, 1, 2, 3, ~2, 4, 5, 6]);
    expect([...rows.indent]).toEqual([0, 0, 1, 2, 2, 1, 1, 1]);
  });
  it("lists as many rows as are open, whatever the size of the tree", () => {
    const { tree: big } = decodeProfile(large(200_000));
    const open = heavyChain(big, 0);
    const { node } = listRows(big, 0, open, true);
    expect(node.length).toBeLessThan(1000);
    for (const n of open) expect(node).toContain(n);
  });
  it("begins with the heaviest chain", () => {
    expect(heavyChain(tree, 0)).toEqual(set(0, 1, 2));
    expect(heavyChain(tree, 3)).toEqual(set());
  });
  it("finds what was open in a new answer", () => {
    const other = treeOf([{ name: "init", self: 500 }, ...SMALL]);
    const carried = carryOpen(tree, set(0, 1, 4), other);
    expect([...carried].map((n) => other.frames.name[other.frame[n]])).toEqual(["", "main", "eval"]);
    expect(carryOpen(tree, set(4), treeOf([])).size).toBe(0);
  });
  it("moves as a tree grid does", () => {
    const open = set(0, 1);
    const rows = listRows(tree, 0, open, true);
    const key = (at: number, name: string) => moveRow(tree, rows, open, at, name);
    expect([key(0, "ArrowDown"), key(4, "ArrowDown"), key(0, "ArrowUp"), key(2, "End"), key(2, "Home")]).toEqual([{ to: 1 }, { to: 4 }, { to: 0 }, { to: 4 }, { to: 0 }]);
    expect([key(0, "ArrowRight"), key(2, "ArrowRight"), key(4, "ArrowRight")]).toEqual([{ to: 1 }, { toggle: 2 }, null]);
    expect([key(1, "ArrowLeft"), key(3, "ArrowLeft")]).toEqual([{ toggle: 1 }, { to: 1 }]);
    expect(key(0, "x")).toBeNull();
    const cut = listRows(tree, 2, set(2), true);
    expect(moveRow(tree, cut, set(2), 2, "ArrowLeft")).toEqual({ to: 0 });
  });
});

describe("callers and callees", () => {
  it("count a stack once, with the outermost of recursive calls", () => {
    const main = relationsOf(tree, "main");
    expect([main.total, main.self, main.unseen, main.cut]).toEqual([100, 25, 0, 10]);
    expect(names(main.callers)).toEqual(["", "main"]);
    expect(names(main.callees)).toEqual(["", "main", "parse", "lex", "eval", "main", "gc"]);
  });
  it("merge all places of a function, with the callers upside down", () => {
    const twice = treeOf([
      { name: "a", callees: [{ name: "alloc", self: 3, callees: [{ name: "lock", self: 1 }] }] },
      { name: "b", callees: [{ name: "alloc", self: 5, cut: 2, callees: [{ name: "lock", self: 4 }] }, { name: "x", cut: 7 }] },
    ], 11);
    const found = relationsOf(twice, "alloc");
    expect([found.total, found.self, found.cut, found.unseen]).toEqual([15, 8, 2, 18]);
    expect(names(found.callers)).toEqual(["", "alloc", "b", "a"]);
    expect([...found.callers.total]).toEqual([15, 15, 11, 4]);
    expect(names(found.callees)).toEqual(["", "alloc", "lock"]);
    expect([...found.callees.total]).toEqual([15, 15, 5]);
    expect([...found.callees.cut]).toEqual([0, 2, 0]);
  });
  it("agree on the total, for every function of a large tree", () => {
    const { tree: big } = decodeProfile(large(20_000));
    for (let i = 0; i < 200; i += 7) {
      const { callers, callees, total } = relationsOf(big, `f${i}`);
      expect(callers.total[0]).toBeCloseTo(total, -3);
      expect(callees.total[0]).toBeCloseTo(total, -3);
    }
  });
  it("are empty for a function that is not there", () => {
    const none = relationsOf(tree, "nothing");
    expect([none.total, none.callers.count, none.callees.count, none.unseen]).toEqual([0, 1, 1, 10]);
  });
});

describe("address of the pane", () => {
  it("holds the pane and the function", () => {
    const state = { ...DEFAULTS, pane: "callers", fn: "std::vec<T>::push_back(T&&)" } as const;
    expect(parseState(formatState(state))).toEqual(state);
    expect(parseState("?pane=sideways").pane).toBe("graph");
  });
});
