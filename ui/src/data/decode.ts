import type { Completeness, FlamegraphAnswer } from "./answers";

/** Functions by frame index; strings are already looked up, so that a name costs one array access. */
export interface FrameTable {
  readonly name: readonly string[];
  readonly module: readonly string[];
  readonly file: readonly string[];
  readonly line: Int32Array;
  readonly kind: readonly string[];
  /** Why a frame has no name; empty where it has one. Not all that make tables know. */
  readonly unnamed?: readonly string[];
}

/**
 * A call tree as flat arrays, in preorder, siblings by total descending.
 * The subtree of node `i` is the index range `[i, end[i])`; its first child, if any, is `i + 1`,
 * and the sibling after child `c` is `end[c]`. On the value axis a node covers
 * `[start, start + total)`: first its children, then what was cut, then its own self value.
 */
export interface CallTree {
  readonly count: number;
  readonly depth: Int32Array;
  readonly frame: Int32Array;
  /** -1 for the root. */
  readonly parent: Int32Array;
  /** One past the last node of the subtree. */
  readonly end: Int32Array;
  readonly self: Float64Array;
  /** The exact value below this node in children the server left out as too narrow. */
  readonly cut: Float64Array;
  readonly total: Float64Array;
  readonly start: Float64Array;
  readonly maxDepth: number;
  readonly frames: FrameTable;
}

/** A decoded flamegraph answer. */
export interface Profile {
  readonly tree: CallTree;
  /** Unix seconds, half open. */
  readonly from: number;
  readonly to: number;
  readonly unit: string;
  readonly completeness: Completeness;
}

/** The answer breaks the contract; the message says where. */
export class DecodeError extends Error {
  constructor(what: string) {
    super(`The collector's flamegraph cannot be read: ${what}. Reload the page: it may be older than the collector.`);
    this.name = "DecodeError";
  }
}

/** Milliseconds that decoding the last answer took. */
export const timings = { decode: 0 };

/** Decodes by a function, and takes the time that it takes. */
export function timed<A, T>(decode: (answer: A) => T): (answer: A) => T {
  return (answer) => {
    const began = performance.now();
    const decoded = decode(answer);
    timings.decode = performance.now() - began;
    return decoded;
  };
}

/** Decodes a flamegraph answer into flat arrays in O(nodes + frames + strings). Throws DecodeError. */
export function decodeProfile(answer: FlamegraphAnswer): Profile {
  if (!answer || !answer.nodes || !answer.frames || !Array.isArray(answer.strings)) {
    throw new DecodeError("nodes, frames or strings are missing");
  }
  const frames = decodeFrames(answer);
  return {
    tree: buildTree(answer.nodes, frames),
    from: answer.from,
    to: answer.to,
    unit: answer.unit,
    completeness: answer.completeness,
  };
}

function decodeFrames({ frames, strings, kinds }: FlamegraphAnswer): FrameTable {
  const n = frames.name.length;
  const text = (column: number[], table: string[], what: string): string[] => {
    if (column.length !== n) throw new DecodeError(`frames.${what} has ${column.length} of ${n} entries`);
    return column.map((index, i) => {
      const value = table[index];
      if (value === undefined) throw new DecodeError(`frames.${what}[${i}] points outside its table`);
      return value;
    });
  };
  return {
    name: text(frames.name, strings, "name"),
    module: text(frames.module, strings, "module"),
    file: text(frames.file, strings, "file"),
    line: Int32Array.from(frames.line),
    kind: text(frames.kind, kinds, "kind"),
    ...(frames.unnamed ? { unnamed: text(frames.unnamed, strings, "unnamed") } : {}),
  };
}

/** A tree's columns in preorder. */
export type Columns = Readonly<Record<keyof FlamegraphAnswer["nodes"], ArrayLike<number>>>;

/** Derives parent, subtree end, total and start from preorder depth, self and cut. Throws DecodeError. */
export function buildTree(nodes: Columns, frames: FrameTable): CallTree {
  const count = nodes.depth.length;
  if (count === 0) throw new DecodeError("there is no root node");
  for (const column of ["frame", "self", "cut"] as const) {
    if (nodes[column].length !== count) throw new DecodeError(`nodes.${column} has ${nodes[column].length} of ${count} entries`);
  }
  const depth = Int32Array.from(nodes.depth);
  const frame = Int32Array.from(nodes.frame);
  const self = Float64Array.from(nodes.self);
  const cut = Float64Array.from(nodes.cut);
  const { parent, maxDepth } = linkParents(depth, frame, frames.name.length);
  const { total, end } = sumUp(parent, self, cut);
  const start = layOut(depth, total, maxDepth);
  return { count, depth, frame, parent, end, self, cut, total, start, maxDepth, frames };
}

function linkParents(depth: Int32Array, frame: Int32Array, frameCount: number) {
  const parent = new Int32Array(depth.length);
  const open: number[] = [0];
  parent[0] = -1;
  let maxDepth = 0;
  if (depth[0] !== 0) throw new DecodeError("the first node is not the root");
  for (let i = 0; i < depth.length; i++) {
    const d = depth[i];
    if (frame[i] < 0 || frame[i] >= frameCount) throw new DecodeError(`node ${i} has an unknown frame`);
    if (i === 0) continue;
    if (d < 1 || d > depth[i - 1] + 1) throw new DecodeError(`node ${i} has depth ${d} after ${depth[i - 1]}`);
    parent[i] = open[d - 1];
    open[d] = i;
    if (d > maxDepth) maxDepth = d;
  }
  return { parent, maxDepth };
}

// Children stand after their parent, so that one backward pass has every subtree complete when it is added.
function sumUp(parent: Int32Array, self: Float64Array, cut: Float64Array) {
  const n = parent.length;
  const total = new Float64Array(n);
  const end = new Int32Array(n);
  for (let i = n - 1; i >= 0; i--) {
    total[i] += self[i] + cut[i];
    if (end[i] === 0) end[i] = i + 1;
    const p = parent[i];
    if (p < 0) continue;
    total[p] += total[i];
    // The first child seen backwards is the last one: its end is the parent's.
    if (end[p] === 0) end[p] = end[i];
  }
  return { total, end };
}

function layOut(depth: Int32Array, total: Float64Array, maxDepth: number): Float64Array {
  const start = new Float64Array(depth.length);
  // Where the next child at each depth begins.
  const next = new Float64Array(maxDepth + 2);
  for (let i = 0; i < depth.length; i++) {
    const d = depth[i];
    start[i] = next[d];
    next[d] = start[i] + total[i];
    next[d + 1] = start[i];
  }
  return start;
}
