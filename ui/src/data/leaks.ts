/** What the page of leaks shows, derived from `GET /api/v1/leaks`: pure, so that it is tested without a browser. */

import { formatSpan } from "./time";
import { formatBytes, formatCount } from "./units";
import { DEFAULTS, formatState } from "./url";

export type Verdict = "leaks" | "too_early" | "levels_off";

export interface StackFrame {
  name: string;
  module: string;
  file: string;
  line: number;
  kind: string;
}

export interface Suspect {
  service: string;
  version: string;
  verdict: Verdict;
  /** Why, in words. */
  evidence: string;
  function: string;
  module: string;
  /** Bytes within the horizon, with the ends of the 95 % interval. */
  growth: number;
  low: number;
  high: number;
  /** Bytes a second. */
  rate: number;
  /** Bytes of old blocks now, and where they level off. */
  old: number;
  level: number;
  /** Sampled blocks that became old, and those of them that were freed. */
  reached: number;
  freed: number;
  query: string;
  from: number;
  to: number;
  /** Leaf first. */
  stack: StackFrame[];
  frames_left_out: number;
  truncated: string | null;
}

export interface Group {
  service: string;
  version: string;
  from: number;
  to: number;
  /** What counts as old, in seconds; null where the time is too short for a verdict. */
  age: number | null;
  processes: number;
  /** Some of its processes. */
  sampled: { host: string; pid: string }[];
}

export interface Killed {
  service: string;
  version: string;
  host: string;
  pid: string;
  comm: string;
  bytes: number;
  query: string;
  /** When its last heap was seen; null where that is not known any more. */
  from: number | null;
  to: number | null;
}

/** A service whose memory is not seen, or not all of it. */
export interface Blind {
  service: string;
  version: string;
  /** Whether the heap of some process is sampled. */
  sampled: boolean;
  /** Whether its own heap profiles are scraped. */
  scraped: boolean;
  reasons: { reason: string; cause: string; advice: string; total: boolean }[];
}

export interface LeaksAnswer {
  horizon: number;
  groups: Group[];
  groups_left_out: number;
  leaks: number;
  suspects_total: number;
  suspects: Suspect[];
  killed: Killed[];
  blind: Blind[];
  blind_left_out: number;
}

/** Windows to choose from, in seconds. */
export const WINDOWS = [3600, 21600, 86400, 604800] as const;

/** Everything the page shows, as its address holds it. Defaults are left out of the address. */
export interface LeaksState {
  /** Length of the window up to now, in seconds. */
  readonly window: number;
  /** Part of a service's name, version or function, regardless of case. */
  readonly find: string;
  /** The suspect whose details are shown: see `keyOf`. */
  readonly open: string;
}

/** Reads the query string of an address; unknown values fall back to the default. */
export function parseLeaks(search: string): LeaksState {
  const p = new URLSearchParams(search);
  return { window: WINDOWS.find((w) => String(w) === p.get("window")) ?? WINDOWS[0], find: p.get("find") ?? "", open: p.get("open") ?? "" };
}

/** The query string of a state, with its `?`; empty when everything is default. */
export function formatLeaks({ window, find, open }: LeaksState): string {
  const p = new URLSearchParams();
  if (window !== WINDOWS[0]) p.set("window", String(window));
  if (find !== "") p.set("find", find);
  if (open !== "") p.set("open", open);
  const out = p.toString();
  return out === "" ? "" : `?${out}`;
}

/** What a suspect is known by, from one answer to the next: a short hash of its service, version and stack. */
export function keyOf({ service, version, stack }: Suspect): string {
  const text = [service, version, ...stack.map(({ name, module, line }) => `${name} ${module} ${line}`)].join("\n");
  // FNV-1a of 32 bits.
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(36);
}

/** The suspects that hold what is looked for, in the answer's order. */
export function chooseSuspects(suspects: readonly Suspect[], find: string): Suspect[] {
  const needle = find.trim().toLowerCase();
  return suspects.filter(({ service, version, function: name }) => [service, version, name].some((text) => text.toLowerCase().includes(needle)));
}

/** The services that hold what is looked for, in the answer's order. */
export function chooseBlind(list: readonly Blind[], find: string): Blind[] {
  const needle = find.trim().toLowerCase();
  return list.filter(({ service, version }) => [service, version].some((text) => text.toLowerCase().includes(needle)));
}

export const VERDICTS: Readonly<Record<Verdict, string>> = { leaks: "Leaks", too_early: "Too early to tell", levels_off: "Levels off" };

const signed = (bytes: number) => (bytes < 0 ? "−" : "+") + formatBytes(Math.round(Math.abs(bytes)));

/** `+136 MiB in 1 h`. */
export function forecastText({ growth }: Suspect, horizon: number): string {
  return `${signed(growth)} in ${formatSpan(horizon)}`;
}

/** `+113 MiB to +160 MiB`. */
export function intervalText({ low, high }: Suspect): string {
  return `${signed(low)} to ${signed(high)}`;
}

export function rateText({ rate }: Suspect): string {
  return `${signed(rate)}/s`;
}

/** `3 processes, seen for 60 min; old is 9 min`. */
export function groupText({ from, to, age, processes }: Group): string {
  const count = processes < 1.5 ? "1 process" : `${formatCount(Math.round(processes))} processes`;
  const old = age === null ? "too short for a verdict" : `old is ${formatSpan(age)} or more`;
  return `${count}, seen for ${formatSpan(Math.round(to - from))}; ${old}`;
}

/** How to find out what holds its blocks; empty where no process is known. */
export function scanText({ service, version }: Suspect, groups: readonly Group[]): string {
  const process = groups.find((group) => group.service === service && group.version === version)?.sampled[0];
  return process ? `flamekeeper heap scan ${process.pid}  # on ${process.host}` : "";
}

/** Its live heap in Explore, with the function searched for. */
export function suspectUrl({ query, from, to, function: name }: Suspect): string {
  return `/explore${formatState({ ...DEFAULTS, type: "inuse_space", query, from: String(from), to: String(to), search: name })}`;
}

/** Its last live heap in Explore; null where its time is not known any more. */
export function killedUrl({ query, from, to }: Killed): string | null {
  if (from === null || to === null) return null;
  return `/explore${formatState({ ...DEFAULTS, type: "inuse_space", query, from: String(from), to: String(to) })}`;
}
