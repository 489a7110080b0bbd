/** What the page of services shows, derived from `GET /api/v1/services` and `/api/v1/timeseries`: pure, so that it is tested without a browser. */

import type { ServiceRow, TimeseriesAnswer } from "./answers";
import { formatSelector } from "./selector";

/** Windows to choose from, in seconds. */
export const WINDOWS = [900, 3600, 21600, 86400, 604800] as const;

export const COLUMNS = ["service", "cores", "hosts", "versions"] as const;
export type Column = (typeof COLUMNS)[number];

/** Everything the page shows, as its address holds it. Defaults are left out of the address. */
export interface ServicesState {
  /** Length of the window up to now, in seconds. */
  readonly window: number;
  /** Part of a service's name or version, regardless of case. */
  readonly find: string;
  readonly sort: Column;
  readonly descending: boolean;
}

const DEFAULT_SORT = "-cores";

/** Reads the query string of an address; unknown values fall back to the default. */
export function parseServices(search: string): ServicesState {
  const p = new URLSearchParams(search);
  const asked = p.get("sort") ?? "";
  const sort = COLUMNS.includes(asked.replace(/^-/, "") as Column) ? asked : DEFAULT_SORT;
  return {
    window: WINDOWS.find((w) => String(w) === p.get("window")) ?? WINDOWS[0],
    find: p.get("find") ?? "",
    sort: sort.replace(/^-/, "") as Column,
    descending: sort.startsWith("-"),
  };
}

/** The query string of a state, with its `?`; empty when everything is default. */
export function formatServices({ window, find, sort, descending }: ServicesState): string {
  const p = new URLSearchParams();
  if (window !== WINDOWS[0]) p.set("window", String(window));
  if (find !== "") p.set("find", find);
  const order = (descending ? "-" : "") + sort;
  if (order !== DEFAULT_SORT) p.set("sort", order);
  const out = p.toString();
  return out === "" ? "" : `?${out}`;
}

// What only Explore has in its address.
const OF_EXPLORE = ["query", "service", "from", "to", "type", "by", "path", "transforms", "search", "filter", "pane", "fn", "view"];

/** Whether the query string of `/` is one of Explore, which stood there before the services did. */
export function isOfExplore(search: string): boolean {
  const p = new URLSearchParams(search);
  return OF_EXPLORE.some((key) => p.has(key));
}

export interface ServiceView {
  readonly service: string;
  readonly versions: readonly string[];
  readonly hosts: number;
  readonly samples: number;
  /** CPU time in the window by the window's length, over all hosts. */
  readonly cores: number;
  /** Share (0 to 1) of all services. */
  readonly share: number;
  /** Cores in each step of the window; null where the answer joins this service with others, or has not come. */
  readonly trend: readonly number[] | null;
}

/** One row for each service; `window` in seconds. */
export function serviceViews(rows: readonly ServiceRow[], series: TimeseriesAnswer | null, window: number): ServiceView[] {
  const all = rows.reduce((sum, row) => sum + row.value, 0);
  const trends = new Map(series?.series.map(({ label, values }) => [label, values.map((v) => v / series.step / 1e9)]));
  return rows.map(({ service, versions, hosts, samples, value }) => ({
    service, versions, hosts, samples,
    cores: value / window / 1e9,
    share: all > 0 ? value / all : 0,
    trend: trends.get(service) ?? null,
  }));
}

/** The rows that hold what is looked for, in the order of the state; equal ones by name. */
export function chooseServices(views: readonly ServiceView[], { find, sort, descending }: ServicesState): ServiceView[] {
  const needle = find.trim().toLowerCase();
  const sign = descending ? -1 : 1;
  const compare = (a: ServiceView, b: ServiceView): number => {
    if (sort === "service") return a.service.localeCompare(b.service);
    return sort === "versions" ? a.versions.length - b.versions.length : a[sort] - b[sort];
  };
  return views
    .filter(({ service, versions }) => [service, ...versions].some((text) => text.toLowerCase().includes(needle)))
    .sort((a, b) => sign * compare(a, b) || a.service.localeCompare(b.service));
}

/** Where Explore shows a service, in the same window. `from` as the API takes it. */
export function exploreUrl(service: string, from: string): string {
  const p = new URLSearchParams({ query: formatSelector([{ label: "service", op: "=", value: service }]) });
  if (from !== "-15m") p.set("from", from);
  return `/explore?${p}`;
}

/** The SVG path of an area under a trend, in a box of the given size; steps are as wide as each other, `max` is the top. */
export function areaPath(trend: readonly number[], width: number, height: number, max: number): string {
  if (trend.length === 0 || !(max > 0)) return "";
  const step = width / trend.length;
  const number = (v: number) => Number(v.toFixed(1));
  const edge = trend.map((v, i) => `V${number(height * (1 - v / max))}H${number((i + 1) * step)}`);
  return `M0 ${height}${edge.join("")}V${height}Z`;
}
