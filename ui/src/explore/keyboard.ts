import { menuOfSelected } from "./actions";
import { helpOpen, move, resetZoom, stepHit, zoomSelected } from "./focus";
import type { Graph } from "./graph";

/** What keys do, by `KeyboardEvent.key`. */
export type Keys = Readonly<Record<string, () => void>>;

/** What the keys of every graph do, for the help. */
export const GRAPH_KEYS: readonly [keys: string, what: string][] = [
  ["click", "zoom; Back zooms out again"],
  ["right click  m", "what else can be done with a function"],
  ["ctrl + wheel", "zoom around the mouse; drag moves"],
  ["↑ ↓ ← →", "caller, heaviest callee, siblings"],
  ["Enter", "zoom into the selected function"],
  ["Esc", "show everything"],
  ["/", "search; /like this/ for a regular expression"],
  ["n  N", "next and previous match"],
  ["f  i", "flamegraph with the root below or above"],
  ["t  s", "table alone; table beside the graph or not"],
  ["?", "this help"],
];

const ARROWS: Record<string, "up" | "down" | "left" | "right"> = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right" };

function ofEveryGraph(graph: Graph): Keys {
  return {
    "/": () => {
      const box = document.querySelector<HTMLInputElement>("#search");
      box?.focus();
      box?.select();
    },
    n: () => stepHit(graph, false),
    N: () => stepHit(graph, true),
    m: () => menuOfSelected(graph),
    "?": () => (helpOpen.value = !helpOpen.peek()),
    Escape: () => {
      if (helpOpen.peek()) helpOpen.value = false;
      else resetZoom(graph);
    },
  };
}

/** Listens for keys on the page, those of every graph and the page's own; fields keep theirs, and so do lists and buttons their arrows. */
export function connectKeys(graph: Graph, own: Keys): () => void {
  const common = ofEveryGraph(graph);
  const onKey = (e: KeyboardEvent) => {
    if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey) return;
    const target = e.target as HTMLElement;
    if (target.matches("input, select, textarea")) return;
    const onCanvas = target === document.body || target.matches(".flame-canvas");
    const arrow = ARROWS[e.key];
    if ((arrow || e.key === "Enter") && !onCanvas) return;
    if (arrow) move(graph, arrow);
    else if (e.key === "Enter") zoomSelected(graph);
    else if (!own[e.key] && !common[e.key]) return;
    e.preventDefault();
    own[e.key]?.();
    common[e.key]?.();
  };
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}
