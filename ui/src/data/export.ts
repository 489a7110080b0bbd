import type { CallTree } from "./decode";

/** Files of a graph as it is seen: after zoom and transforms. What the server cut stands under a frame that says so. */

const CUT = "[narrower functions]";

/** One stack of a file, root first, with the callers of the zoom. */
type OnStack = (frames: readonly number[], cut: boolean, value: number) => void;

/** Calls back for each stack under a node that has a value of its own, in the order of the tree. */
function eachStack(tree: CallTree, node: number, onStack: OnStack): void {
  const stack: number[] = [];
  for (let i = tree.parent[node]; i > 0; i = tree.parent[i]) stack.unshift(tree.frame[i]);
  for (let i = node; i < tree.end[node]; i++) {
    if (i > 0) {
      stack.length = tree.depth[i] - 1;
      stack.push(tree.frame[i]);
    }
    if (tree.self[i] > 0) onStack(stack, false, tree.self[i]);
    if (tree.cut[i] > 0) onStack(stack, true, tree.cut[i]);
  }
}

/** Folded text: one stack a line, root first, as flamegraph.pl, inferno and others read it. */
export function foldedText(tree: CallTree, node: number): string {
  const names = tree.frames.name.map((name) => name.replaceAll(";", ":").replace(/[\r\n]/g, " ") || "(no name)");
  const lines: string[] = [];
  eachStack(tree, node, (frames, cut, value) => {
    const path = frames.map((f) => names[f]);
    if (cut) path.push(CUT);
    // A stack of nothing has no line in this format: it is what the root itself did.
    lines.push(`${path.join(";") || "all"} ${Math.round(value)}\n`);
  });
  return lines.join("");
}

/** What a file says about itself. */
export interface FileInfo {
  readonly name: string;
  /** The answer's unit. */
  readonly unit: string;
  readonly exporter: string;
}

// Units of https://www.speedscope.app/file-format-schema.json; others are counts.
const UNITS = ["nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"];

/** A speedscope file with one sampled profile. */
export interface SpeedscopeFile {
  readonly $schema: "https://www.speedscope.app/file-format-schema.json";
  readonly name: string;
  readonly exporter: string;
  readonly activeProfileIndex: number;
  readonly shared: { readonly frames: readonly { name: string; file?: string; line?: number }[] };
  readonly profiles: readonly {
    readonly type: "sampled";
    readonly name: string;
    readonly unit: string;
    readonly startValue: number;
    readonly endValue: number;
    readonly samples: readonly (readonly number[])[];
    readonly weights: readonly number[];
  }[];
}

/** The graph under a node as a speedscope file; only functions that are in it stand in its table. */
export function speedscopeFile(tree: CallTree, node: number, { name, unit, exporter }: FileInfo): SpeedscopeFile {
  const frames: { name: string; file?: string; line?: number }[] = [];
  const known = new Map<number, number>();
  const index = (f: number): number => {
    let at = known.get(f);
    if (at === undefined) known.set(f, (at = frames.push(f < 0 ? { name: CUT } : frameOf(tree, f)) - 1));
    return at;
  };
  const samples: number[][] = [];
  const weights: number[] = [];
  eachStack(tree, node, (stack, cut, value) => {
    const sample = stack.map(index);
    if (cut) sample.push(index(-1));
    samples.push(sample);
    weights.push(value);
  });
  const endValue = weights.reduce((a, b) => a + b, 0);
  return {
    $schema: "https://www.speedscope.app/file-format-schema.json",
    name, exporter, activeProfileIndex: 0,
    shared: { frames },
    profiles: [{ type: "sampled", name, unit: UNITS.includes(unit) ? unit : "none", startValue: 0, endValue, samples, weights }],
  };
}

// Without debug information the module is what is known of the file.
function frameOf({ frames }: CallTree, f: number): { name: string; file?: string; line?: number } {
  const file = frames.file[f] || frames.module[f];
  return { name: frames.name[f] || "(no name)", ...(file ? { file } : {}), ...(frames.file[f] && frames.line[f] > 0 ? { line: frames.line[f] } : {}) };
}
