import type { CallTree } from "../data/decode";
import { MIN_WIDTH, type Camera } from "./layout";

/** What stands at a place: a node, or the dust among a node's children. */
export interface Hit {
  /** For dust the parent. */
  readonly node: number;
  readonly dust: boolean;
}

/** What the layout shows at x (CSS pixels) in a row, found from the root without a layout; null where nothing is. */
export function hitTest(tree: CallTree, camera: Camera, width: number, x: number, row: number): Hit | null {
  if (row < 0 || x < 0 || x >= width) return null;
  const scale = width / (camera.hi - camera.lo);
  const value = camera.lo + x / scale;
  if (value < tree.start[0] || value >= tree.start[0] + tree.total[0]) return null;
  let node = 0;
  for (let depth = 0; depth < row; depth++) {
    const child = childAt(tree, node, value, scale);
    if (child >= 0) {
      node = child;
      continue;
    }
    const inChildren = value < tree.start[node] + tree.total[node] - tree.self[node];
    return inChildren && depth === row - 1 ? { node, dust: true } : null;
  }
  return { node, dust: false };
}

function childAt(tree: CallTree, node: number, value: number, scale: number): number {
  for (let c = node + 1; c < tree.end[node]; c = tree.end[c]) {
    if (tree.total[c] * scale < MIN_WIDTH) return -1;
    if (value < tree.start[c] + tree.total[c]) return c;
  }
  return -1;
}
