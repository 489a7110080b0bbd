/** The collector's answers, as docs/http-api.md states them. Values are integers in the unit the answer names. */

/** What is missing from an answer about profiles. */
export interface Completeness {
  /** Samples behind the answer. */
  samples: number;
  /** Samples lost on the selected hosts in the window, by reason. */
  lost: Record<string, number>;
  lost_total: number;
  /** Samples of the selected hosts that are kept and are less than what was configured, by caveat. */
  caveats: Record<string, number>;
  /** Samples whose stack does not reach a root. */
  truncated: number;
  truncated_reasons: Record<string, number>;
  /** Samples whose leaf frame has no function name. */
  unnamed: number;
  unnamed_reasons?: Record<string, number>;
  /** Share (0 to 1) of distinct frames without a name. */
  unnamed_frames?: number;
}

/** `GET /api/v1/flamegraph`: a columnar call tree in preorder, siblings by total descending. */
export interface FlamegraphAnswer {
  from: number;
  to: number;
  type: string;
  unit: string;
  total: number;
  samples: number;
  completeness: Completeness;
  strings: string[];
  frames: { name: number[]; module: number[]; file: number[]; line: number[]; kind: number[]; unnamed?: number[] };
  kinds: string[];
  nodes: { depth: number[]; frame: number[]; self: number[]; cut: number[] };
}

/** One row of `GET /api/v1/top`; `total` counts a stack once, however often the function recurs in it. */
export interface TopFunction {
  name: string;
  module: string;
  file: string;
  line: number;
  kind: string;
  self: number;
  total: number;
  /** The standard error of the total in the unit, where the type has one: live heaps are sampled. */
  total_error?: number;
}

export interface TopAnswer {
  unit: string;
  total: number;
  completeness: Completeness;
  functions: TopFunction[];
}

/** `GET /api/v1/timeseries`: `values` are per step in the unit. */
export interface TimeseriesAnswer {
  unit: string;
  /** Seconds. */
  step: number;
  from: number;
  points: number;
  series: { label: string; values: number[] }[];
  rest: number[];
  completeness: Completeness;
}

/** `GET /api/v1/heatmap`: CPU samples by parts of seconds. */
export interface HeatmapAnswer {
  /** Unix seconds, whole. */
  from: number;
  seconds: number;
  /** Parts of a second. */
  rows: number;
  samples: number;
  /** `rows` for each second. */
  values: number[];
}

/** One service of `GET /api/v1/memory`; bytes, and bytes a second. */
export interface MemoryRow {
  service: string;
  verdict: "grows" | "too_early" | "flat";
  evidence: string;
  level: number;
  slope: number;
  low: number;
  high: number;
  /** What the memory meets, and in how many seconds; null where that is not known, or not to come. */
  limit: { of: string; bytes: number; left: number; seconds: number | null } | null;
  levels: Record<string, number[]>;
}

export interface MemoryAnswer {
  step: number;
  growing: number;
  services: MemoryRow[];
}

export interface ServiceRow {
  service: string;
  versions: string[];
  hosts: number;
  value: number;
  unit: string;
  samples: number;
}

export interface ServicesAnswer {
  services: ServiceRow[];
}

export interface LabelsAnswer {
  labels: string[];
}

export interface TypesAnswer {
  types: { type: string; unit: string }[];
}

export interface StatusAnswer {
  version: string;
  started: number;
  samples_stored: number;
  batches: number;
  store_bytes?: number;
  /** Unix seconds from which on each tier holds everything, 0 where nothing was deleted yet; counts since the start. */
  store?: { writable: boolean; raw_from: number; minute_from: number; hour_from: number; deleted_by_size: number; refused_full: number };
  symbols?: { objects: number; bytes: number; quota_bytes: number; bad: number };
}

/** A side of `GET /api/v1/diff`. */
export interface DiffSide {
  from: number;
  to: number;
  query: string;
  host_seconds: number;
  hosts: number;
  /** Parts that the spread was estimated from. */
  windows: number;
  samples: number;
  weight: number;
  /** In the diff's unit. */
  total: number;
  /** How its requests are known; null unless values are by those that were posted. */
  requests?: { count: number; posted: number; covered: number; hosts: number; any_version: boolean } | null;
}

/** What was posted of the requests of a service, version and host; empty ones are all together. */
export interface RequestsSum {
  service: string;
  version: string;
  host: string;
  count: number;
  counted_seconds: number;
}

/** `GET /api/v1/requests`. */
export interface RequestsAnswer {
  requests: RequestsSum[];
}

export type Verdict = "grew" | "shrank" | "new" | "gone" | "moved" | "chance";

/** A function on both sides, in the diff's unit. */
export interface DiffFunction {
  name: string;
  module: string;
  kind: string;
  self_a: number;
  self_b: number;
  total_a: number;
  total_b: number;
  /** What the change is of. */
  of: "self" | "total";
  change: number;
  /** The 95 % interval of the change; null where the type counts no samples. */
  low: number | null;
  high: number | null;
  q: number | null;
  verdict: Verdict;
  moved_from: string | null;
  /** The change of this function that would be flagged 80 times of 100. */
  seen: number | null;
}

/** `GET /api/v1/diff`: the tree in preorder, in `weight_unit`; functions beyond chance first, by the size of their change. */
export interface DiffAnswer {
  type: string;
  unit: string;
  weight_unit: string;
  a: DiffSide;
  b: DiffSide;
  names: string[];
  modules: string[];
  kinds: string[];
  tree: Record<"depth" | "name" | "a" | "b" | "cut_a" | "cut_b", number[]>;
  functions_total: number;
  functions: DiffFunction[];
  statistics: { dispersion: number; fdr: number; flagged: number; tested: number; smallest_change: number | null };
  completeness: { a: Completeness; b: Completeness };
  notes: string[];
}

/** One of `GET /api/v1/deploys`; times in unix seconds. */
export interface Deploy {
  service: string;
  version: string;
  previous: string;
  kind: "deploy" | "rollback" | "mark";
  at: number;
  rolled_out: number;
  last: number;
  hosts: { host: string }[];
  overlaps: boolean;
  text: string;
}

export interface DeploysAnswer {
  deploys: Deploy[];
}

/** `GET /api/v1/deploys/compare`. */
export interface CompareAnswer {
  service: string;
  a: { version: string; query: string; from: number; to: number };
  b: { version: string; query: string; from: number; to: number };
  why: string;
}
