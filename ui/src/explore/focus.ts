import { signal } from "@preact/signals";
import type { CallTree } from "../data/decode";
import type { FlameEngine } from "../flame/engine";
import type { Hit } from "../flame/hit";
import { neighbour } from "../flame/camera";
import { heaviestFirst, nextHit, type Found } from "../flame/search";
import { pathOf } from "../data/path";
import type { Graph } from "./graph";
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
export function select(graph: Graph, node: number): void {
  const view = graph.shown.peek();
  if (!view || node < 0) return;
  selected.value = node;
  engine.peek()?.select(node);
  const { tree } = view;
  const share = (tree.total[node] / tree.total[view.node]) * 100;
  announcement.value = `${tree.frames.name[tree.frame[node]] || "all"}, ${share.toFixed(1)} per cent of the view`;
}

/** Moves the selection as an arrow key says; `up` and `down` are on screen. */
export function move(graph: Graph, arrow: "up" | "down" | "left" | "right"): void {
  const view = graph.shown.peek();
  if (!view) return;
  if (selected.peek() < 0) return select(graph, view.node);
  const towardsLeaf = (arrow === "up") === (graph.direction.peek() === "flame");
  const to = arrow === "left" ? "previous" : arrow === "right" ? "next" : towardsLeaf ? "child" : "parent";
  select(graph, neighbour(view.tree, selected.peek(), to));
}

/** Zooms into the selected node. */
export function zoomSelected(graph: Graph): void {
  const view = graph.shown.peek();
  if (view && selected.peek() >= 0) graph.zoomTo(pathOf(view.tree, selected.peek()));
}

/** Shows everything again. */
export function resetZoom(graph: Graph): void {
  selected.value = -1;
  engine.peek()?.select(-1);
  if ((graph.shown.peek()?.node ?? 0) > 0) graph.zoomTo([]);
  else engine.peek()?.recenter(true);
}

// Sorted when first stepped through, not at each letter typed.
let ordered: { of: Found; hits: Int32Array } | null = null;

function inOrder(tree: CallTree, found: Found): Int32Array {
  if (ordered?.of !== found) ordered = { of: found, hits: heaviestFirst(tree, found.hits) };
  return ordered.hits;
}

/** Goes to the next lighter match in view, or back to the next heavier one; comes closer where it is too narrow to see. */
export function stepHit(graph: Graph, back: boolean): void {
  const view = graph.shown.peek();
  const found = graph.found.peek();
  const hit = view && found && "hits" in found ? nextHit(inOrder(view.tree, found), selected.peek(), back) : -1;
  if (hit < 0) return;
  engine.peek()?.lookAt(hit, mayAnimate());
  select(graph, hit);
}
