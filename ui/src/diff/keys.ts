import { GRAPH_KEYS, type Keys } from "../explore/keyboard";
import { go, state, switchGenerics } from "./store";
import { swap } from "./Sides";

/** Every key and what it does, for the help. */
export const KEYS: typeof GRAPH_KEYS = [
  ...GRAPH_KEYS.slice(0, -1),
  ["w", "frames as wide as in both, A, or B"],
  ["x", "exchange A and B"],
  ["g", "one function of those that differ by type arguments alone, or each"],
  ...GRAPH_KEYS.slice(-1),
];

const NEXT = { both: "a", a: "b", b: "both" } as const;

export const ACTIONS: Keys = {
  "/": () => {
    if (state.peek().view === "table") go({ view: "split" }, "replace");
  },
  t: () => go({ view: "table" }, "replace"),
  s: () => go({ view: state.peek().view === "split" ? "flame" : "split" }, "replace"),
  f: () => go({ direction: "flame" }, "replace"),
  i: () => go({ direction: "icicle" }, "replace"),
  w: () => go({ width: NEXT[state.peek().width] }, "replace"),
  x: swap,
  g: switchGenerics,
};
