/** A diff as the page shows it, derived from `GET /api/v1/diff`: pure, so that it is tested without a browser. */

import type { DiffAnswer, DiffFunction, DiffSide, Verdict } from "./answers";
import { TreeBuilder } from "./build";
import { DecodeError, type CallTree, type FrameTable } from "./decode";

/** What is as wide as a frame: the mean of both sides, or one of them. */
export type Width = "both" | "a" | "b";

/** Values of A and of B. */
export type Pair<T> = readonly [a: T, b: T];

/** A decoded diff. Columns are by node of the answer, in the diff's unit. */
export interface Diff extends Omit<DiffAnswer, "names" | "modules" | "kinds" | "tree"> {
  readonly frames: FrameTable;
  readonly depth: readonly number[];
  readonly frame: readonly number[];
  readonly self: Pair<Float64Array>;
  readonly cut: Pair<Float64Array>;
}

/** Decodes an answer in O(nodes). Throws DecodeError. */
export function decodeDiff(answer: DiffAnswer): Diff {
  if (!answer?.tree || !Array.isArray(answer.names)) throw new DecodeError("tree or names are missing");
  const { names, modules, kinds, tree, ...rest } = answer;
  const count = tree.depth.length;
  for (const [column, values] of Object.entries(tree)) {
    if (values.length !== count) throw new DecodeError(`tree.${column} has ${values.length} of ${count} entries`);
  }
  const scaled = (values: number[], side: DiffSide) => {
    const scale = side.weight > 0 ? side.total / side.weight : 0;
    return Float64Array.from(values, (value) => value * scale);
  };
  const none = names.map(() => "");
  return {
    ...rest,
    frames: { name: names, module: modules, kind: kinds, file: none, line: new Int32Array(names.length) },
    depth: tree.depth,
    frame: tree.name,
    self: [scaled(tree.a, answer.a), scaled(tree.b, answer.b)],
    cut: [scaled(tree.cut_a, answer.a), scaled(tree.cut_b, answer.b)],
  };
}

/** A call tree of both sides; further columns are by its nodes. */
export interface DiffTree {
  readonly tree: CallTree;
  readonly self: Pair<Float64Array>;
  readonly total: Pair<Float64Array>;
}

/** The tree with frames as wide as asked, siblings by that width. What has none stays in the tree, and is not seen. */
export function diffTree(diff: Diff, width: Width): DiffTree {
  const count = diff.depth.length;
  if (count === 0) throw new DecodeError("there is no root node");
  const builder = new TreeBuilder(diff.frames, diff.frame[0]);
  const ids = new Int32Array(count);
  const open = [0];
  const wide = ([a, b]: Pair<Float64Array>, i: number) => (width === "a" ? a[i] : width === "b" ? b[i] : (a[i] + b[i]) / 2);
  for (let i = 0; i < count; i++) {
    const d = diff.depth[i];
    if (i > 0) {
      if (!(d >= 1 && d <= diff.depth[i - 1] + 1)) throw new DecodeError(`node ${i} has depth ${d}`);
      ids[i] = builder.child(open[d - 1], diff.frame[i]);
    }
    open[d] = ids[i];
    builder.add(ids[i], wide(diff.self, i), wide(diff.cut, i));
  }
  const { tree, at } = builder.build();
  const place = ids.map((id) => at[id]);
  return {
    tree,
    self: [column(tree, place, [diff.self[0]]), column(tree, place, [diff.self[1]])],
    total: [totals(tree, column(tree, place, [diff.self[0], diff.cut[0]])), totals(tree, column(tree, place, [diff.self[1], diff.cut[1]]))],
  };
}

function column(tree: CallTree, place: Int32Array, sources: readonly Float64Array[]): Float64Array {
  const out = new Float64Array(tree.count);
  for (const values of sources) for (let i = 0; i < values.length; i++) out[place[i]] += values[i];
  return out;
}

function totals({ parent }: CallTree, values: Float64Array): Float64Array {
  for (let i = parent.length - 1; i > 0; i--) values[parent[i]] += values[i];
  return values;
}

/** What is said of a node: its change beyond chance, that its function moved, or nothing. */
export const enum Mark {
  Chance = 0,
  More = 1,
  Less = 2,
  Moved = 3,
}

/** By node: what is said of it, and how strongly (0 to 2): changes below a quarter, below twofold, and beyond. */
export interface Marks {
  readonly mark: Uint8Array;
  readonly strength: Uint8Array;
}

const MARK: Record<Verdict, Mark> = { chance: Mark.Chance, moved: Mark.Moved, grew: Mark.More, new: Mark.More, shrank: Mark.Less, gone: Mark.Less };

// Beyond this many standard deviations one of the places of a function that changed is said to have changed: 99 %, as there are many places.
const BEYOND = 2.58;
// A place with this much of its function on both sides is the function.
const WHOLE = 0.9;

/**
 * A node has changed where its function has, by the collector's test over all functions. Where the function stands in several places,
 * the place's own change has to be beyond what sampling and the spread explain as well: a function that is slower in one place is grey
 * in the others. Where nothing could be tested, because the type counts no samples, every change is told.
 */
export function marksOf(diff: Diff, made: DiffTree): Marks {
  const { tree, total: [a, b] } = made;
  const known = functionsByFrame(diff);
  const untested = isUntested(diff);
  const mark = new Uint8Array(tree.count);
  const strength = new Uint8Array(tree.count);
  for (let i = 0; i < tree.count; i++) {
    const f = known[tree.frame[i]];
    const said = untested ? Mark.More : i === 0 ? rootSaid(diff, a[0], b[0]) : f ? MARK[f.verdict] : Mark.Chance;
    if (said === Mark.Chance) continue;
    const whole = i > 0 && f !== null && isWhole(f, a[i], b[i]);
    if (!(whole && said !== Mark.Moved && !untested) && !isBeyond(diff, a[i], b[i], untested)) continue;
    const [from, to] = whole && !untested ? valuesOf(f) : [a[i], b[i]];
    mark[i] = said === Mark.Moved ? said : to > from ? Mark.More : Mark.Less;
    if (said !== Mark.Moved) strength[i] = strengthOf(from, to);
  }
  return { mark, strength };
}

// No function is the root: what is said of all is said of those that hold nearly all of both sides, the most that is said of any. Without such, of the root itself.
function rootSaid({ functions }: Diff, a: number, b: number): Mark {
  const holding = functions.filter((f) => f.total_a >= WHOLE * a && f.total_b >= WHOLE * b);
  return holding.length === 0 || holding.some((f) => MARK[f.verdict] !== Mark.Chance) ? Mark.More : Mark.Chance;
}

// What moved is in two places by nature: each of them is the function on its side.
function isWhole(f: DiffFunction, a: number, b: number): boolean {
  const [wholeA, wholeB] = [a >= WHOLE * f.total_a, b >= WHOLE * f.total_b];
  return f.moved_from === null ? wholeA && wholeB : wholeA || wholeB;
}

function isBeyond({ a: sideA, b: sideB, statistics }: Diff, a: number, b: number, untested: boolean): boolean {
  const [unitA, unitB] = [sideA, sideB].map((side) => (side.samples > 0 ? side.total / side.samples : 0));
  // Half a sample more: nothing seen is no proof of nothing.
  const variance = Math.max(1, statistics.dispersion) * (unitA * (a + unitA / 2) + unitB * (b + unitB / 2));
  return b !== a && (untested || Math.abs(b - a) >= BEYOND * Math.sqrt(variance));
}

function strengthOf(from: number, to: number): number {
  const doublings = Math.abs(Math.log2(to / from));
  return doublings < Math.log2(1.25) ? 0 : doublings < 1 ? 1 : 2;
}

/** Whether there are values and no samples to tell chance by. */
export function isUntested({ a, b }: Pick<Diff, "a" | "b">): boolean {
  return a.samples === 0 && b.samples === 0 && a.weight + b.weight > 0;
}

/** Functions are told by name and module, however they were inlined. */
const keyOf = (name: string, module: string) => `${name}\n${module}`;

function functionsByFrame({ functions, frames }: Diff): readonly (DiffFunction | null)[] {
  const known = new Map(functions.map((f) => [keyOf(f.name, f.module), f]));
  const before = new Map(functions.filter((f) => f.moved_from !== null).map((f) => [f.moved_from, f]));
  return frames.name.map((name, i) => known.get(keyOf(name, frames.module[i])) ?? before.get(name) ?? null);
}

/** The function of a frame, under the name that it had in A as well; null where the answer does not list it. */
export function functionOf({ functions, frames }: Diff, frame: number): DiffFunction | null {
  const name = frames.name[frame];
  return functions.find((f) => f.name === name && f.module === frames.module[frame]) ?? functions.find((f) => f.moved_from === name) ?? null;
}

/** By how much a value changed, as a share of A; infinite where A has none. */
export function ratio(a: number, b: number): number {
  return a > 0 ? (b - a) / a : b > 0 ? Infinity : 0;
}

export const DIFF_SORTS = ["rank", "name", "a", "b", "change", "ratio"] as const;
export type DiffSort = (typeof DIFF_SORTS)[number];

/** What a function is on each side, of that of its values which the change is of. */
export function valuesOf(f: DiffFunction): Pair<number> {
  return f.of === "self" ? [f.self_a, f.self_b] : [f.total_a, f.total_b];
}

// A function of few samples may have moved without anybody being able to tell.
const isBeyondChance = ({ verdict, q }: DiffFunction) => verdict !== "chance" && (verdict !== "moved" || (q !== null && q <= 0.05));

/** The functions that hold the filter in their name or module, in the order asked for; `rank` is the answer's own. */
export function diffRows(functions: readonly DiffFunction[], filter: string, sort: DiffSort, only: boolean): DiffFunction[] {
  const needle = filter.trim().toLowerCase();
  const rows = functions.filter((f) => (!only || isBeyondChance(f)) && [f.name, f.module, f.moved_from ?? ""].some((text) => text.toLowerCase().includes(needle)));
  if (sort === "rank") return rows;
  if (sort === "name") return rows.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const key = (f: DiffFunction): number => {
    const [a, b] = valuesOf(f);
    return sort === "a" ? a : sort === "b" ? b : sort === "change" ? Math.abs(f.change) : Math.abs(ratio(a, b));
  };
  return rows.map((f) => ({ f, value: key(f) })).sort((x, y) => (x.value === y.value ? 0 : y.value > x.value ? 1 : -1)).map(({ f }) => f);
}
