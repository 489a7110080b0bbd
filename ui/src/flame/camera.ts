import type { CallTree } from "../data/decode";
import type { Camera } from "./layout";

/** The camera that a node fills. */
export function cameraOf(tree: CallTree, node: number): Camera {
  const total = tree.total[node];
  // An empty graph still needs an axis.
  return { lo: tree.start[node], hi: tree.start[node] + (total > 0 ? total : 1) };
}

/** Zooms by a factor (below 1: closer) around the value under the cursor, inside the bounds. */
export function zoomAround(camera: Camera, bounds: Camera, share: number, factor: number): Camera {
  const span = camera.hi - camera.lo;
  const widest = bounds.hi - bounds.lo;
  const next = Math.min(widest, Math.max(widest * 1e-7, span * factor));
  const lo = camera.lo + share * (span - next);
  return clamp({ lo, hi: lo + next }, bounds);
}

/** Moves the camera by a value, inside the bounds. */
export function pan(camera: Camera, bounds: Camera, by: number): Camera {
  return clamp({ lo: camera.lo + by, hi: camera.hi + by }, bounds);
}

function clamp(camera: Camera, bounds: Camera): Camera {
  const span = Math.min(camera.hi - camera.lo, bounds.hi - bounds.lo);
  const lo = Math.min(Math.max(camera.lo, bounds.lo), bounds.hi - span);
  return { lo, hi: lo + span };
}

/** Between two cameras; the edges move evenly on screen although a span may change a thousandfold. */
export function between(a: Camera, b: Camera, t: number): Camera {
  if (t >= 1) return b;
  const spanA = a.hi - a.lo;
  const spanB = b.hi - b.lo;
  if (Math.abs(spanA - spanB) < 1e-9 * spanA) return { lo: a.lo + (b.lo - a.lo) * t, hi: a.hi + (b.hi - a.hi) * t };
  const span = spanA * (spanB / spanA) ** t;
  // Both edges are linear in the span, so that the point both cameras share stays where it is.
  const u = (span - spanA) / (spanB - spanA);
  const lo = a.lo + (b.lo - a.lo) * u;
  return { lo, hi: lo + span };
}

/** A camera on one node carried over to the same node of another answer. */
export function carryOver(camera: Camera, from: Camera, to: Camera): Camera {
  const k = (to.hi - to.lo) / (from.hi - from.lo);
  return { lo: to.lo + (camera.lo - from.lo) * k, hi: to.lo + (camera.hi - from.lo) * k };
}

/** The neighbour of a node: -1 where there is none. Siblings stand by total descending, so the first child is the heaviest. */
export function neighbour(tree: CallTree, node: number, to: "parent" | "child" | "previous" | "next"): number {
  if (to === "parent") return tree.parent[node];
  if (to === "child") return tree.end[node] > node + 1 ? node + 1 : -1;
  const parent = tree.parent[node];
  if (parent < 0) return -1;
  if (to === "next") return tree.end[node] < tree.end[parent] ? tree.end[node] : -1;
  let previous = -1;
  for (let c = parent + 1; c < node; c = tree.end[c]) previous = c;
  return previous;
}

/** Whether `outer` is `inner` or one of its callers. */
export function contains(tree: CallTree, outer: number, inner: number): boolean {
  return outer <= inner && inner < tree.end[outer];
}
