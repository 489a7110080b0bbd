import type { CallTree } from "../data/decode";

/** The part of the value axis that is in view; `lo < hi`. */
export interface Camera {
  readonly lo: number;
  readonly hi: number;
}

/** What is to be drawn where, in CSS pixels from the left; row 0 is the root's. */
export interface View {
  readonly camera: Camera;
  readonly width: number;
  /** Rows in view: `[firstRow, lastRow]`. */
  readonly firstRow: number;
  readonly lastRow: number;
}

/** Rectangles as flat arrays that are reused from frame to frame: read `count` of them. */
export interface Rects {
  count: number;
  /** The node; for dust its parent. */
  node: Int32Array;
  row: Int32Array;
  x: Float64Array;
  w: Float64Array;
  /** 1 for dust: the children of `node` narrower than a pixel, together with what the server cut. */
  dust: Uint8Array;
}

/** Narrower children are not descended into. */
export const MIN_WIDTH = 1;
// Dust narrower than this cannot be seen.
const MIN_DUST = 0.4;

/** Room for a first screen; grows where needed. */
export function newRects(capacity = 4096): Rects {
  return {
    count: 0,
    node: new Int32Array(capacity),
    row: new Int32Array(capacity),
    x: new Float64Array(capacity),
    w: new Float64Array(capacity),
    dust: new Uint8Array(capacity),
  };
}

/**
 * Finds what is visible, parents before children. Work is bounded by pixels, not nodes: siblings come by total
 * descending, so that the first one narrower than a pixel ends the loop, and the rest is one dust rectangle.
 */
export function layout(tree: CallTree, view: View, out: Rects): Rects {
  out.count = 0;
  const { camera, width, firstRow, lastRow } = view;
  const scale = width / (camera.hi - camera.lo);
  const open: number[] = [0];
  while (open.length > 0) {
    const node = open.pop() as number;
    const row = tree.depth[node];
    if (row >= firstRow) push(out, node, row, (tree.start[node] - camera.lo) * scale, tree.total[node] * scale, 0);
    if (row < lastRow) layChildren(tree, node, view, scale, open, out);
  }
  return out;
}

function layChildren(tree: CallTree, node: number, view: View, scale: number, open: number[], out: Rects): void {
  const { camera, width } = view;
  const end = tree.end[node];
  const childrenEnd = tree.start[node] + tree.total[node] - tree.self[node];
  let at = tree.start[node];
  for (let c = node + 1; c < end; c = tree.end[c]) {
    if (tree.total[c] * scale < MIN_WIDTH) break;
    at = tree.start[c] + tree.total[c];
    if (at <= camera.lo) continue;
    if (tree.start[c] >= camera.hi) return;
    open.push(c);
  }
  const x = (at - camera.lo) * scale;
  const w = (childrenEnd - at) * scale;
  const row = tree.depth[node] + 1;
  if (w >= MIN_DUST && x < width && x + w > 0 && row >= view.firstRow) push(out, node, row, x, w, 1);
}

function push(out: Rects, node: number, row: number, x: number, w: number, dust: number): void {
  const i = out.count++;
  if (i === out.node.length) grow(out);
  out.node[i] = node;
  out.row[i] = row;
  out.x[i] = x;
  out.w[i] = w;
  out.dust[i] = dust;
}

function grow(out: Rects): void {
  const capacity = out.node.length * 2;
  const copy = <T extends Int32Array | Float64Array | Uint8Array>(to: T, from: T): T => {
    to.set(from as never);
    return to;
  };
  out.node = copy(new Int32Array(capacity), out.node);
  out.row = copy(new Int32Array(capacity), out.row);
  out.x = copy(new Float64Array(capacity), out.x);
  out.w = copy(new Float64Array(capacity), out.w);
  out.dust = copy(new Uint8Array(capacity), out.dust);
}
