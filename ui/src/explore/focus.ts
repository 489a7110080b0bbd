import { computed, signal } from "@preact/signals";
import type { CallTree } from "../data/decode";
import type { FlameEngine } from "../flame/engine";
import type { Hit } from "../flame/hit";
import { neighbour } from "../flame/camera";
import { heaviestFirst, nextHit } from "../flame/search";
import { pathOf } from "../data/path";
import { found, shown, state, zoomTo } from "./store";
import { mayAnimate } from "./theme";

/** What the mouse is on. */
export const hovered = signal<{ tree: CallTree; hit: Hit } | null>(null);
/** What the keyboard is on: a node of the shown tree, or -1. */
export const selected = signal(-1);
/** What a screen reader is told. */
export const announcement = signal("");
/** The mounted engine; null while no flamegraph is on the page. */
export const engine = signal<FlameEngine | null>(null);
export const helpOpen = signal(false);

/** Moves the selection to a node. */
export function select(node: number): void {
  const view = shown.peek();
  if (!view || node < 0) return;
  selected.value = node;
  engine.peek()?.select(node);
  const { tree } = view.profile;
  const share = (tree.total[node] / tree.total[view.node]) * 100;
  announcement.value = `${tree.frames.name[tree.frame[node]] || "all"}, ${share.toFixed(1)} per cent of the view`;
}

/** Moves the selection as an arrow key says; `up` and `down` are on screen. */
export function move(arrow: "up" | "down" | "left" | "right"): void {
  const view = shown.peek();
  if (!view) return;
  const { tree } = view.profile;
  if (selected.peek() < 0) return select(view.node);
  const towardsLeaf = (arrow === "up") === (state.peek().direction === "flame");
  const to = arrow === "left" ? "previous" : arrow === "right" ? "next" : towardsLeaf ? "child" : "parent";
  select(neighbour(tree, selected.peek(), to));
}

/** Zooms into the selected node. */
export function zoomSelected(): void {
  const view = shown.peek();
  if (view && selected.peek() >= 0) zoomTo(pathOf(view.profile.tree, selected.peek()));
}

/** Shows everything again. */
export function resetZoom(): void {
  selected.value = -1;
  engine.peek()?.select(-1);
  if (state.peek().path.length > 0) zoomTo([]);
  else engine.peek()?.recenter(true);
}

// Sorted when first stepped through, not at each letter typed.
const ordered = computed(() => {
  const view = shown.value;
  const result = found.value;
  return view && result && "hits" in result ? heaviestFirst(view.profile.tree, result.hits) : null;
});

/** Goes to the next lighter match in view, or back to the next heavier one; comes closer where it is too narrow to see. */
export function stepHit(back: boolean): void {
  const order = ordered.peek();
  const hit = order ? nextHit(order, selected.peek(), back) : -1;
  if (hit < 0) return;
  engine.peek()?.lookAt(hit, mayAnimate());
  select(hit);
}
