import { formatPath, parsePath, type FramePath } from "./path";
import { withValue } from "./selector";
import { formatTransforms, parseTransforms, type Transform } from "./transform";

export type View = "split" | "flame" | "table";
export type Direction = "flame" | "icicle";
/** What the pane beside the table shows. */
export type Pane = "graph" | "tree" | "callers";
/** By binary and library; by kernel, program and runtime; by crate, namespace or package. */
export type ColorMode = "module" | "kernel" | "package";
/** Whether functions that differ by their type arguments alone are one. */
export type Generics = "keep" | "fold";
/** The rate over time, or samples by second and tenth of a second. */
export type ChartKind = "rate" | "subsecond";
export type SortKey = "self" | "total" | "name";

/** Everything the Explore page shows, as its address holds it. Defaults are left out of the address. */
export interface ExploreState {
  readonly query: string;
  readonly from: string;
  readonly to: string;
  readonly type: string;
  /** Label by which the time series is split. */
  readonly by: string;
  /** What stands over the graph. */
  readonly chart: ChartKind;
  readonly generics: Generics;
  readonly path: FramePath;
  /** What was done to the tree, in order; the path is one in the result. */
  readonly transforms: readonly Transform[];
  /** Whether every function is asked for, however narrow. */
  readonly whole: boolean;
  readonly search: string;
  /** Filter of the table. */
  readonly filter: string;
  readonly view: View;
  readonly direction: Direction;
  readonly pane: Pane;
  /** The function whose callers and callees are shown. */
  readonly fn: string;
  readonly color: ColorMode;
  readonly sort: SortKey;
  readonly live: boolean;
}

export const DEFAULTS: ExploreState = {
  query: "",
  from: "-15m",
  to: "now",
  type: "cpu",
  by: "service",
  chart: "rate",
  generics: "keep",
  path: [],
  transforms: [],
  whole: false,
  search: "",
  filter: "",
  view: "split",
  direction: "flame",
  pane: "graph",
  fn: "",
  color: "module",
  sort: "self",
  live: false,
};

/** Reads the query string of an address; unknown values fall back to the default. */
export function parseState(search: string): ExploreState {
  const p = new URLSearchParams(search);
  const text = (key: keyof ExploreState & string) => p.get(key) ?? (DEFAULTS[key] as string);
  const one = <T extends string>(key: string, allowed: readonly T[]): T => {
    const value = p.get(key) as T | null;
    return value !== null && allowed.includes(value) ? value : allowed[0];
  };
  const service = p.get("service");
  const query = text("query");
  return {
    query: service === null ? query : withValue(query, "service", service),
    from: text("from"),
    to: text("to"),
    type: text("type"),
    by: text("by"),
    chart: one("chart", ["rate", "subsecond"]),
    generics: one("generics", ["keep", "fold"]),
    path: parsePath(p.get("path") ?? ""),
    transforms: parseTransforms(p.get("transforms") ?? ""),
    whole: p.get("whole") === "1",
    search: text("search"),
    filter: text("filter"),
    view: one("view", ["split", "flame", "table"]),
    direction: one("direction", ["flame", "icicle"]),
    pane: one("pane", ["graph", "tree", "callers"]),
    fn: text("fn"),
    color: one("color", ["module", "kernel", "package"]),
    sort: one("sort", ["self", "total", "name"]),
    live: p.get("live") === "1",
  };
}

/** The query string of a state, with its `?`; empty when everything is default. */
export function formatState(state: ExploreState): string {
  const p = new URLSearchParams();
  const defaults = asTexts(DEFAULTS);
  for (const [key, text] of Object.entries(asTexts(state))) if (text !== defaults[key]) p.set(key, text);
  const out = p.toString();
  return out === "" ? "" : `?${out}`;
}

function asTexts(state: ExploreState): Record<string, string> {
  return {
    ...(state as unknown as Record<string, string>),
    path: formatPath(state.path),
    transforms: formatTransforms(state.transforms),
    whole: state.whole ? "1" : "",
    live: state.live ? "1" : "",
  };
}
