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
