import { callersOfSelected } from "./actions";
import { GRAPH_KEYS, type Keys } from "./keyboard";
import { showPane } from "./panes";
import { go, state, switchGenerics } from "./store";
import { stepWindow } from "./window";

/** Every key and what it does, for the help. */
export const KEYS: typeof GRAPH_KEYS = [
  ...GRAPH_KEYS.slice(0, -1),
  ["d", "call tree: → opens, ← closes, * opens the heaviest"],
  ["c", "callers and callees of the selected function"],
  ["g", "one function of those that differ by type arguments alone, or each"],
  ["Tab", "into table and rows: ↑ ↓ move, Enter picks"],
  ["h", "the rate over time, or samples within each second"],
  ["[  ]", "one window back or forth"],
  ...GRAPH_KEYS.slice(-1),
];

/** The keys of Explore beside those of every graph. */
export const ACTIONS: Keys = {
  "/": () => {
    if (state.peek().view === "table") go({ view: "split" }, "replace");
  },
  t: () => go({ view: "table" }, "replace"),
  s: () => go({ view: state.peek().view === "split" ? "flame" : "split" }, "replace"),
  f: () => showPane("flame"),
  i: () => showPane("icicle"),
  d: () => showPane("tree"),
  c: callersOfSelected,
  g: switchGenerics,
  h: () => go({ chart: state.peek().chart === "rate" ? "subsecond" : "rate" }, "replace"),
  "[": () => stepWindow(-1),
  "]": () => stepWindow(1),
};
