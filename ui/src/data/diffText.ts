/** What a diff says in words: pure, so that it is tested without a browser. */

import type { DiffSide, Verdict } from "./answers";
import { isUntested, type Diff } from "./diff";
import { parseSelector } from "./selector";
import { formatSpan } from "./time";
import { formatCount, formatShare, formatValue, significant } from "./units";

const NBSP = "\u00a0";

/** What is said of a function. */
export const VERDICTS: Record<Verdict, [word: string, title: string]> = {
  grew: ["regressed", "It takes more in B, beyond chance"],
  shrank: ["improved", "It takes less in B, beyond chance"],
  new: ["new", "Only B has it, beyond chance"],
  gone: ["gone", "Only A has it, beyond chance"],
  moved: ["moved", "A has it in another module, or under another name with the same callers and callees; nothing else changed"],
  chance: ["within chance", "Sampling and the spread between hosts and times explain this change"],
};

/** What a value's unit depends on. */
type InUnits = Pick<Diff, "unit" | "weight_unit" | "a" | "b">;

const isCores = ({ unit, weight_unit }: InUnits) => unit === "cores" && weight_unit === "nanoseconds";

// A service of less than this many cores a host is told in thousandths: its functions would be all zeros.
const MANY_CORES = 8;
const inThousandths = (diff: InUnits) => isCores(diff) && Math.max(diff.a.total, diff.b.total) < MANY_CORES;

/** A value in a diff's unit, without the unit where the heading names it. What rounds to nothing is `0`. */
export function formatIn(diff: InUnits, value: number): string {
  const abs = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (diff.unit === "share") return abs < 0.00005 ? "0" : sign + formatShare(abs);
  if (diff.unit === "request" && diff.weight_unit !== "nanoseconds") return abs === 0 ? "0" : `${sign}${formatValue(abs, diff.weight_unit)}`;
  if (diff.unit === "request") return scaled(abs / requestScale(diff)[0], sign);
  if (diff.unit === "cores" && !isCores(diff)) return `${sign}${formatValue(abs, diff.weight_unit)}/s`;
  return scaled(inThousandths(diff) ? abs * 1000 : abs, sign);
}

const scaled = (shown: number, sign: string) => (shown < 0.005 ? "0" : sign + (shown < 1 ? shown.toFixed(2) : significant(shown)));

// One unit for all of a diff, so that columns of numbers need none: that in which a request takes some hundreds at most, and 1 at least.
function requestScale({ a, b }: InUnits): readonly [nanoseconds: number, name: string] {
  const most = Math.max(a.total, b.total);
  return most >= 1e9 ? [1e9, "s"] : most >= 1e6 ? [1e6, "ms"] : [1e3, "µs"];
}

/** The unit, for a heading. */
export function unitOf(diff: InUnits): string {
  if (diff.unit === "share") return "share";
  if (diff.unit === "request") return diff.weight_unit === "nanoseconds" ? `${requestScale(diff)[1]} of CPU a request` : "a request";
  return isCores(diff) ? (inThousandths(diff) ? "millicores a host" : "cores a host") : diff.unit === "cores" ? "a host" : diff.unit;
}

/** A value with a sign for an increase too. */
export function formatChange(diff: InUnits, value: number): string {
  const text = formatIn(diff, value);
  return value > 0 && text !== "0" ? `+${text}` : text;
}

/** A ratio for reading: `+20 %`, `−3.1 %`, `×12`, `new`, `gone`. */
export function formatRatio(share: number): string {
  if (share === Infinity) return "new";
  if (share <= -1) return "gone";
  if (share >= 9) return `×${significant(share + 1)}`;
  const percent = Math.abs(share * 100);
  if (percent < 0.05) return `±0${NBSP}%`;
  return `${share < 0 ? "−" : "+"}${percent >= 10 ? Math.round(percent) : percent.toFixed(1)}${NBSP}%`;
}

const span = (side: Pick<DiffSide, "from" | "to">) => side.to - side.from;
const plural = (n: number, one: string, more = `${one}s`) => `${formatCount(n)}${NBSP}${n === 1 ? one : more}`;

/** What was chosen: what the sides differ in, and `why` these windows, else how long they are and how they lie to each other. */
export function describeChoice({ a, b }: Pick<Diff, "a" | "b">, why = ""): string {
  const differ = differences(a.query, b.query);
  const times = why || timesOf(a, b);
  return [differ, times].filter((text) => text !== "").join("; ");
}

function timesOf(a: DiffSide, b: DiffSide): string {
  if (a.from === b.from && a.to === b.to) return differences(a.query, b.query) === "" ? "A and B are the very same" : "the same window";
  const lengths = Math.abs(span(a) - span(b)) < 0.02 * Math.max(span(a), span(b)) ? `both are ${formatSpan(span(b))} long` : `A is ${formatSpan(span(a))} long, B ${formatSpan(span(b))}`;
  return `${lengths}; ${distance(a, b)}`;
}

function distance(a: DiffSide, b: DiffSide): string {
  const later = b.from - a.from;
  const days = Math.round(later / 86400);
  if (days !== 0 && Math.abs(later - days * 86400) < 60) return `A is the same time of day, ${plural(Math.abs(days), "day")} ${days > 0 ? "earlier" : "later"}`;
  if (a.to <= b.from) return b.from - a.to < 1 ? "A ends where B begins" : `A ends ${formatSpan(b.from - a.to)} before B begins`;
  if (b.to <= a.from) return `A is after B, by ${formatSpan(a.from - b.to)}`;
  return "A and B overlap in time";
}

/** Labels that the sides select differently: `version 1.4 → 1.5`. */
function differences(queryA: string, queryB: string): string {
  const [a, b] = [queryA, queryB].map((query) => {
    const parsed = parseSelector(query);
    return new Map((Array.isArray(parsed) ? parsed : []).map((m) => [m.label, `${m.op === "=" ? "" : m.op}${m.value}`]));
  });
  const labels = [...new Set([...a.keys(), ...b.keys()])].filter((label) => a.get(label) !== b.get(label));
  return labels.map((label) => `${label} ${a.get(label) ?? "any"} → ${b.get(label) ?? "any"}`).join(", ");
}

/** What changed as a whole, and what size of change would have been seen. Sentences; empty where there is nothing to say. */
export function describeStatistics(diff: Diff): string[] {
  const { flagged, tested, smallest_change, fdr } = diff.statistics;
  if (isUntested(diff)) return ["This type counts no samples: every change is shown, and none of them is known to be beyond chance."];
  if (tested === 0) return ["There are too few samples to test any function."];
  const out = [flagged === 0
    ? `None of ${plural(tested, "function")} changed beyond chance.`
    : `${plural(flagged, "function")} of ${formatCount(tested)} changed beyond chance: at most ${Math.round(fdr * 100)}${NBSP}% of those told are expected to be false.`];
  const size = diff.a.total / 20;
  if (smallest_change !== null && size > 0) {
    const part = smallest_change > size ? "more than it takes: these are few samples" : `${Math.round((100 * smallest_change) / size)}${NBSP}% of it`;
    out.push(`A function that takes 5${NBSP}% of A would have been told 4 times of 5 if it had changed by ${formatIn(diff, smallest_change)} ${unitOf(diff)} (${part}).`);
  }
  return out;
}
