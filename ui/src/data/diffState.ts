/** What the page of diffs shows, as its address holds it: pure, so that it is tested without a browser. */

import { DIFF_SORTS, type DiffSort, type Width } from "./diff";
import { formatPath, parsePath, type FramePath } from "./path";
import { formatRelative, formatTime, isRelative, parseTime } from "./time";
import type { Direction, Generics, View } from "./url";

/** What one side selects, and when. */
export interface Side {
  readonly query: string;
  readonly from: string;
  readonly to: string;
}

/** What values are divided by: seconds of hosts, the side's total, requests. */
export type By = "cores" | "share" | "requests";

export interface DiffState {
  /** Before. */
  readonly a: Side;
  /** After. */
  readonly b: Side;
  /** A service whose deploy is to be compared: the page then asks which windows to take. */
  readonly deploy: string;
  /** The version that came, and the one before; the last deploy's where empty. */
  readonly version: string;
  readonly previous: string;
  readonly type: string;
  readonly by: By;
  /** Requests that each side served, as whole numbers; both are empty where those that were posted count. */
  readonly requests_a: string;
  readonly requests_b: string;
  readonly generics: Generics;
  readonly width: Width;
  readonly view: View;
  readonly direction: Direction;
  readonly sort: DiffSort;
  /** Whether the table leaves out what is within chance. */
  readonly only: boolean;
  /** Whether every function is asked for, however narrow. */
  readonly whole: boolean;
  readonly filter: string;
  readonly search: string;
  readonly path: FramePath;
}

export const DIFF_DEFAULTS: DiffState = {
  a: { query: "", from: "-75m", to: "-1h" },
  b: { query: "", from: "-15m", to: "now" },
  deploy: "", version: "", previous: "",
  type: "cpu", by: "cores", requests_a: "", requests_b: "", generics: "keep", width: "both", view: "split", direction: "flame", sort: "rank", only: false, whole: false,
  filter: "", search: "", path: [],
};

/** Reads the query string of an address; unknown values fall back to the default. */
export function parseDiff(search: string): DiffState {
  const p = new URLSearchParams(search);
  const one = <T extends string>(key: string, allowed: readonly T[]): T => allowed.find((value) => value === p.get(key)) ?? allowed[0];
  const side = (name: "a" | "b"): Side => {
    const { from, to } = DIFF_DEFAULTS[name];
    return { query: p.get(`query_${name}`) ?? "", from: p.get(`from_${name}`) ?? from, to: p.get(`to_${name}`) ?? to };
  };
  const text = (key: "deploy" | "version" | "previous" | "filter" | "search") => p.get(key) ?? "";
  return {
    a: side("a"), b: side("b"),
    deploy: text("deploy"), version: text("version"), previous: text("previous"),
    type: p.get("type") ?? "cpu",
    ...byRequests(p.get("requests_a") ?? "", p.get("requests_b") ?? "", one("by", ["cores", "share", "requests"])),
    generics: one("generics", ["keep", "fold"]),
    width: one("width", ["both", "a", "b"]),
    view: one("view", ["split", "flame", "table"]),
    direction: one("direction", ["flame", "icicle"]),
    sort: one("sort", DIFF_SORTS),
    only: p.get("only") === "1",
    whole: p.get("whole") === "1",
    filter: text("filter"), search: text("search"),
    path: parsePath(p.get("path") ?? ""),
  };
}

/** Whether a text is a number of requests: whole, and greater than 0. */
export function isCount(text: string): boolean {
  return /^[0-9]{1,15}$/.test(text) && Number(text) > 0;
}

// By requests where both counts are there, or neither.
function byRequests(a: string, b: string, by: By): Pick<DiffState, "by" | "requests_a" | "requests_b"> {
  const counted = by === "requests" && isCount(a) && isCount(b);
  const posted = by === "requests" && a === "" && b === "";
  return { by: by === "requests" && !counted && !posted ? "cores" : by, requests_a: counted ? a : "", requests_b: counted ? b : "" };
}

function asTexts({ a, b, path, only, whole, ...texts }: DiffState): Record<string, string> {
  return {
    query_a: a.query, from_a: a.from, to_a: a.to, query_b: b.query, from_b: b.from, to_b: b.to,
    ...(texts as Record<string, string>), path: formatPath(path), only: only ? "1" : "", whole: whole ? "1" : "",
  };
}

/** The query string of a state, with its `?`; empty when everything is default. */
export function formatDiff(state: DiffState): string {
  const p = new URLSearchParams();
  const defaults = asTexts(DIFF_DEFAULTS);
  for (const [key, text] of Object.entries(asTexts(state))) if (text !== defaults[key]) p.set(key, text);
  const out = p.toString();
  return out === "" ? "" : `?${out}`;
}

/** The page of diffs with a change to its defaults. */
export function diffUrl(change: Partial<DiffState>): string {
  return `/diff${formatDiff({ ...DIFF_DEFAULTS, ...change })}`;
}

/** The same side so many seconds earlier; relative where it was. Null where its times cannot be read. */
export function earlier(side: Side, seconds: number, now: number): Side | null {
  const [from, to] = [parseTime(side.from, now), parseTime(side.to, now)];
  if (from === null || to === null) return null;
  const relative = isRelative(side.from) && isRelative(side.to);
  const back = (at: number) => (relative ? formatRelative(Math.round(now - at + seconds)) : formatTime(at - seconds));
  return { query: side.query, from: back(from), to: back(to) };
}

/** The length of a side in seconds; null where its times cannot be read. */
export function lengthOf(side: Side, now: number): number | null {
  const [from, to] = [parseTime(side.from, now), parseTime(side.to, now)];
  return from === null || to === null || to <= from ? null : to - from;
}
