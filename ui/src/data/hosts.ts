/** What the hosts page shows, derived from `GET /api/v1/hosts`: pure, so that it is tested without a browser. */

import { formatBytes, formatCount, formatShare, significant } from "./units";
import { formatSpan } from "./time";

export interface HostRow {
  host: string;
  agent_version: string;
  /** Unix seconds: the end of its newest stored window. */
  last_seen: number;
  samples: number;
  lost: Record<string, number>;
  caveats: Record<string, number>;
  truncated: number;
  /** What the agent said of itself, whole numbers by name; empty for a sender that is no Flamekeeper agent. */
  figures: Record<string, number>;
}

export interface HostsAnswer {
  hosts: HostRow[];
}

export const COLUMNS = ["host", "version", "frequency", "cpu", "memory", "host_memory", "rate", "lost", "truncated", "lag"] as const;
export type Column = (typeof COLUMNS)[number];

/** Windows to choose from, in seconds. */
export const WINDOWS = [900, 3600, 21600, 86400] as const;

/** Everything the page shows, as its address holds it. Defaults are left out of the address. */
export interface HostsState {
  /** Length of the window up to now, in seconds. */
  readonly window: number;
  readonly sort: Column;
  readonly descending: boolean;
}

/** Reads the query string of an address; unknown values fall back to the default. */
export function parseHosts(search: string): HostsState {
  const p = new URLSearchParams(search);
  const sort = (p.get("sort") ?? "host").replace(/^-/, "") as Column;
  return {
    window: WINDOWS.find((w) => String(w) === p.get("window")) ?? WINDOWS[0],
    sort: COLUMNS.includes(sort) ? sort : "host",
    descending: COLUMNS.includes(sort) && (p.get("sort") ?? "").startsWith("-"),
  };
}

/** The query string of a state, with its `?`; empty when everything is default. */
export function formatHosts({ window, sort, descending }: HostsState): string {
  const p = new URLSearchParams();
  if (window !== WINDOWS[0]) p.set("window", String(window));
  if (sort !== "host" || descending) p.set("sort", (descending ? "-" : "") + sort);
  const out = p.toString();
  return out === "" ? "" : `?${out}`;
}

/** A cell: its text, what it sorts by, how full it is of what it may be (0 to 1), and whether that is bad. */
export interface Cell {
  readonly text: string;
  readonly value: number | string;
  readonly fill?: number;
  readonly bad?: boolean;
  /** What the text leaves out. */
  readonly title?: string;
}

export interface HostView {
  readonly host: string;
  readonly cells: Readonly<Record<Column, Cell>>;
  /** What the agent does now to stay within its ceilings, and what that did to samples of the window. */
  readonly restraints: readonly { text: string; title: string }[];
}

const UNKNOWN: Cell = { text: "–", value: -1, title: "This sender does not say." };
const sum = (counts: Record<string, number>) => Object.values(counts).reduce((a, b) => a + b, 0);
const words = (name: string) => name.replaceAll("_", " ");

/** An agent that has not reported for so long is late: three windows of 10 s and some. */
const LATE_SECONDS = 45;

/** One row: everything as text, with what it sorts by. `now` in unix seconds, `window` in seconds. */
export function hostView(row: HostRow, now: number, window: number): HostView {
  const figures = row.figures ?? {};
  const lost = sum(row.lost);
  const taken = row.samples + lost;
  const lag = Math.max(0, now - row.last_seen);
  return {
    host: row.host,
    cells: {
      host: { text: row.host || "(no name)", value: row.host },
      version: { text: row.agent_version || "–", value: row.agent_version },
      frequency: frequency(figures),
      cpu: against(figures.cpu_microcores, figures.cpu_ceiling_microcores, (n) => formatShare(n / 1e6), "of a core"),
      memory: against(figures.memory_bytes, figures.memory_ceiling_bytes, formatBytes, "rings included"),
      host_memory: hostMemory(figures),
      rate: { text: significant(row.samples / window), value: row.samples / window, title: `${formatCount(row.samples)} samples in the window` },
      lost: { text: lost === 0 ? "0" : `${formatCount(lost)} · ${formatShare(lost / taken)}`, value: lost, bad: lost > 0.01 * taken, title: reasons(row.lost) },
      truncated: { text: formatShare(row.samples > 0 ? row.truncated / row.samples : 0), value: row.samples > 0 ? row.truncated / row.samples : 0, bad: row.truncated > 0.05 * row.samples },
      lag: { text: formatSpan(Math.round(lag)).replace(/^0 ms$/, "0 s"), value: lag, bad: lag > LATE_SECONDS },
    },
    restraints: restraints(figures, row.caveats ?? {}),
  };
}

function frequency(figures: Record<string, number>): Cell {
  const now = figures.frequency_millihertz;
  const configured = figures.configured_millihertz;
  if (now === undefined || configured === undefined) return UNKNOWN;
  const hertz = (mHz: number) => `${Number((mHz / 1000).toFixed(1))}`;
  const lowered = now < configured;
  return { text: lowered ? `${hertz(now)} of ${hertz(configured)} Hz` : `${hertz(configured)} Hz`, value: now, bad: lowered };
}

function hostMemory({ host_memory_bytes: all, host_available_bytes: left }: Record<string, number>): Cell {
  if (!all || left === undefined) return UNKNOWN;
  const used = Math.max(0, all - left);
  return { text: `${formatBytes(used)} / ${formatBytes(all)}`, value: used / all, fill: used / all, bad: left < 0.05 * all, title: `${formatBytes(left)} are left for programs without swapping` };
}

function against(used: number | undefined, ceiling: number | undefined, format: (n: number) => string, what: string): Cell {
  if (used === undefined || ceiling === undefined || ceiling === 0) return UNKNOWN;
  const fill = used / ceiling;
  return { text: `${format(used)} / ${format(ceiling)}`, value: used, fill, bad: fill > 1, title: `${formatShare(fill)} of what it may use, ${what}` };
}

function reasons(counts: Record<string, number>): string {
  const entries = Object.entries(counts).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  return entries.length === 0 ? "None were lost." : entries.map(([reason, n]) => `${formatCount(n)} ${words(reason)}`).join(", ");
}

function restraints(figures: Record<string, number>, caveats: Record<string, number>): { text: string; title: string }[] {
  const out: { text: string; title: string }[] = [];
  const add = (name: string, text: string, title: string) => (figures[name] ?? 0) > 0 && out.push({ text, title });
  add("frequency_steps", "sampling less often", "The agent lowered its frequency to stay below its CPU ceiling. Each sample counts for the longer time, so that totals stay right.");
  add("uploads_paused", "uploads wait", "Symbols are uploaded when there is CPU time for it: names appear later.");
  add("cache_steps", "smaller caches", "The agent forgets more to stay below its memory ceiling, and reads it again when needed.");
  add("wakes_slowed", "reading less often", "The lowest frequency was not enough: processes that live for less than half a second may stay without a name.");
  for (const [name, n] of Object.entries(caveats)) if (n > 0) out.push({ text: `${formatCount(n)} ${words(name)}`, title: "Samples of this window that are kept and are less than what was configured." });
  return out;
}

/** Rows in the order of the state; equal ones by name. */
export function sortHosts(rows: readonly HostView[], { sort, descending }: HostsState): HostView[] {
  const sign = descending ? -1 : 1;
  const compare = (a: number | string, b: number | string) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  return [...rows].sort((a, b) => sign * compare(a.cells[sort].value, b.cells[sort].value) || compare(a.host, b.host));
}
