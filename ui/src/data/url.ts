import { formatPath, parsePath, type FramePath } from "./path";
import { withValue } from "./selector";

export type View = "split" | "flame" | "table";
export type Direction = "flame" | "icicle";
export type ColorMode = "module" | "kernel";
export type SortKey = "self" | "total" | "name";

/** Everything the Explore page shows, as its address holds it. Defaults are left out of the address. */
export interface ExploreState {
  readonly query: string;
  readonly from: string;
  readonly to: string;
  readonly type: string;
  /** Label by which the time series is split. */
  readonly by: string;
  readonly path: FramePath;
  readonly search: string;
  /** Filter of the table. */
  readonly filter: string;
  readonly view: View;
  readonly direction: Direction;
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
  path: [],
  search: "",
  filter: "",
  view: "split",
  direction: "flame",
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
    path: parsePath(p.get("path") ?? ""),
    search: text("search"),
    filter: text("filter"),
    view: one("view", ["split", "flame", "table"]),
    direction: one("direction", ["flame", "icicle"]),
    color: one("color", ["module", "kernel"]),
    sort: one("sort", ["self", "total", "name"]),
    live: p.get("live") === "1",
  };
}

/** The query string of a state, with its `?`; empty when everything is default. */
export function formatState(state: ExploreState): string {
  const p = new URLSearchParams();
  for (const key of Object.keys(DEFAULTS) as (keyof ExploreState)[]) {
    const text = key === "path" ? formatPath(state.path) : key === "live" ? (state.live ? "1" : "") : String(state[key]);
    const fallback = key === "path" || key === "live" ? "" : String(DEFAULTS[key]);
    if (text !== fallback) p.set(key, text);
  }
  const out = p.toString();
  return out === "" ? "" : `?${out}`;
}
