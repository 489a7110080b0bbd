import { callersOfSelected, menuOfSelected } from "./actions";
import type { Keys } from "./keyboard";
import { showPane } from "./panes";
import { go, state } from "./store";
import { stepWindow } from "./window";

/** Every key and what it does, for the help and for a reader of this file. */
export const KEYS: readonly [keys: string, what: string][] = [
  ["click", "zoom; Back zooms out again"],
  ["right click  m", "what else can be done with a function"],
  ["ctrl + wheel", "zoom around the mouse; drag moves"],
  ["↑ ↓ ← →", "caller, heaviest callee, siblings"],
  ["Enter", "zoom into the selected function"],
  ["Esc", "show everything"],
  ["/", "search; /like this/ for a regular expression"],
  ["n  N", "next and previous match"],
  ["f  i", "flamegraph with the root below or above"],
  ["d", "call tree: → opens, ← closes, * opens the heaviest"],
  ["c", "callers and callees of the selected function"],
  ["Tab", "into table and rows: ↑ ↓ move, Enter picks"],
  ["t  s", "table alone; table beside the graph or not"],
  ["[  ]", "one window back or forth"],
  ["?", "this help"],
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
  m: menuOfSelected,
  "[": () => stepWindow(-1),
  "]": () => stepWindow(1),
};
