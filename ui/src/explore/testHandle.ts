import type { CallTree } from "../data/decode";
import type { ClientRect, FlameEngine } from "../flame/engine";
import { timings } from "../data/decode";
import { applyTransforms, type Transform } from "../data/transform";
import { searchIn } from "../flame/search";
import type { Graph } from "./graph";

/** A read-only handle for end-to-end tests; nothing on the page uses it. */
export interface TestHandle {
  /** Nodes of the shown call tree. */
  readonly nodes: number;
  /** The function at a place in client pixels; null where none is. */
  hoverAt(x: number, y: number): { name: string; total: number; self: number } | null;
  /** Where the widest visible rectangle of a function stands, in client pixels; one that contains the name where none equals it. */
  rectOf(name: string): ClientRect | null;
  /** Share (0 to 1) of the view that the search matches; null without a search. */
  readonly matchedShare: number | null;
  /** Milliseconds of the last decode, and of the last layout and paint; when any tree, and when this one was painted for the first time, since the page began. */
  readonly timings: { decode: number; draw: number; firstDraw: number; treeDraw: number };
  /** Milliseconds that a search in what is shown takes, and that a transform of it takes. */
  timeSearch(text: string): number;
  timeTransform(transform: Transform): number;
  /** The function in the middle of the widest path, with its module: something to transform. */
  readonly somewhere: { name: string; module: string } | null;
}

declare global {
  interface Window {
    __flamekeeper?: TestHandle;
  }
}

export function installTestHandle(engine: FlameEngine, graph: Graph): void {
  window.__flamekeeper = Object.freeze({
    get nodes() {
      return engine.tree?.count ?? 0;
    },
    get matchedShare() {
      const result = graph.found.peek();
      const view = graph.shown.peek();
      if (!result || "error" in result || !view) return null;
      return result.value / view.tree.total[view.node];
    },
    get timings() {
      return { decode: timings.decode, draw: engine.lastDraw, firstDraw: engine.firstDraw, treeDraw: engine.treeDraw };
    },
    timeSearch: (text: string) => timed(() => searchIn(graph.shown.peek(), text)),
    timeTransform: (transform: Transform) => timed(() => engine.tree && applyTransforms(engine.tree, [transform])),
    get somewhere() {
      return engine.tree && somewhere(engine.tree);
    },
    hoverAt: (x: number, y: number) => nodeAt(engine, x, y),
    rectOf: (name: string) => widest(engine, name),
  });
}

function timed(run: () => unknown): number {
  const began = performance.now();
  run();
  return performance.now() - began;
}

// Children stand by their total, so the first child is the widest.
function somewhere({ end, frame, frames }: CallTree): { name: string; module: string } {
  let node = 0;
  let depth = 0;
  while (node + 1 < end[node]) [node, depth] = [node + 1, depth + 1];
  const f = frame[Math.max(1, node - (depth >> 1))];
  return { name: frames.name[f], module: frames.module[f] };
}

function nodeAt(engine: FlameEngine, x: number, y: number) {
  const box = document.querySelector(".flame-canvas")?.getBoundingClientRect();
  const { tree } = engine;
  const hit = box && tree ? engine.at(x - box.left, y - box.top) : null;
  if (!hit || hit.dust || !tree) return null;
  return { name: tree.frames.name[tree.frame[hit.node]], total: tree.total[hit.node], self: tree.self[hit.node] };
}

function widest(engine: FlameEngine, name: string): ClientRect | null {
  const { tree } = engine;
  if (!tree) return null;
  return widestWhere(engine, tree, (text) => text === name) ?? widestWhere(engine, tree, (text) => text.includes(name));
}

function widestWhere(engine: FlameEngine, tree: CallTree, wanted: (name: string) => boolean): ClientRect | null {
  let best: ClientRect | null = null;
  for (let i = 0; i < tree.count; i++) {
    if (!wanted(tree.frames.name[tree.frame[i]])) continue;
    const rect = engine.rectOf(i);
    if (rect && (best === null || rect.w > best.w)) best = rect;
  }
  return best;
}
