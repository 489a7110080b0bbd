import { callersOfSelected, menuOfSelected } from "./actions";
import { helpOpen, move, resetZoom, stepHit, zoomSelected } from "./focus";
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

const ARROWS: Record<string, "up" | "down" | "left" | "right"> = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right" };

const ACTIONS: Record<string, () => void> = {
  "/": () => {
    if (state.peek().view === "table") go({ view: "split" }, "replace");
    const box = document.querySelector<HTMLInputElement>("#search");
    box?.focus();
    box?.select();
  },
  n: () => stepHit(false),
  N: () => stepHit(true),
  t: () => go({ view: "table" }, "replace"),
  s: () => go({ view: state.peek().view === "split" ? "flame" : "split" }, "replace"),
  f: () => showPane("flame"),
  i: () => showPane("icicle"),
  d: () => showPane("tree"),
  c: callersOfSelected,
  m: menuOfSelected,
  "[": () => stepWindow(-1),
  "]": () => stepWindow(1),
  "?": () => (helpOpen.value = !helpOpen.peek()),
  Escape: () => {
    if (helpOpen.peek()) helpOpen.value = false;
    else resetZoom();
  },
};

/** Listens for keys on the page; fields keep theirs, and so do lists and buttons their arrows. */
export function connectKeys(): () => void {
  const onKey = (e: KeyboardEvent) => {
    if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey) return;
    const target = e.target as HTMLElement;
    if (target.matches("input, select, textarea")) return;
    const onCanvas = target === document.body || target.matches(".flame-canvas");
    const arrow = ARROWS[e.key];
    const action = arrow ? () => move(arrow) : e.key === "Enter" ? zoomSelected : ACTIONS[e.key];
    if (!action || ((arrow || e.key === "Enter") && !onCanvas)) return;
    e.preventDefault();
    action();
  };
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}
