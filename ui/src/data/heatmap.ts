/** The subsecond heat map: pure, so that it is tested without a browser. */

import type { HeatmapAnswer, TypesAnswer } from "./answers";
import { formatCount } from "./units";

/** Types that are looked at as flamegraphs: tenths of seconds are no functions. */
export function graphTypes(answer: TypesAnswer): TypesAnswer {
  return { ...answer, types: answer.types.filter(({ type }) => type !== "cpu_subsecond") };
}

/** Seconds of a stored window: a stack is known to belong to one, and to no part of it. */
const STORED = 10;

/** The smallest span of whole stored windows around a selection, in unix seconds. */
export function wholeWindows(from: number, to: number): { from: number; to: number } {
  const start = Math.floor(from / STORED) * STORED;
  return { from: start, to: Math.max(start + STORED, Math.ceil(to / STORED) * STORED) };
}

/** What is as dark as it gets: almost the greatest count, so that one odd moment does not pale all others. */
export function ceiling(values: readonly number[]): number {
  const some = Float64Array.from(values.filter((v) => v > 0)).sort();
  return some.length === 0 ? 1 : some[Math.min(some.length - 1, Math.floor(some.length * 0.995))];
}

export type Rgb = readonly [r: number, g: number, b: number];

/** The pixels of a map, one for each part of each second, RGBA; later parts of a second are further up. Empty cells are transparent. */
export function pixels({ seconds, rows, values }: HeatmapAnswer, [pale, full]: readonly [Rgb, Rgb]): Uint8ClampedArray<ArrayBuffer> {
  const most = ceiling(values);
  const out = new Uint8ClampedArray(seconds * rows * 4);
  for (let second = 0; second < seconds; second++) {
    for (let row = 0; row < rows; row++) {
      const value = values[second * rows + row];
      if (!(value > 0)) continue;
      const share = Math.min(1, value / most);
      const at = ((rows - 1 - row) * seconds + second) * 4;
      for (let c = 0; c < 3; c++) out[at + c] = pale[c] + (full[c] - pale[c]) * share;
      out[at + 3] = 255;
    }
  }
  return out;
}

/** The count at a place of the map, and when it begins; null outside. */
export function cellAt({ from, seconds, rows, values }: HeatmapAnswer, time: number, up: number): { time: number; samples: number } | null {
  const second = Math.floor(time - from);
  const row = Math.floor(up * rows);
  if (second < 0 || second >= seconds || row < 0 || row >= rows) return null;
  return { time: from + second + row / rows, samples: values[second * rows + row] };
}

/** The map in a sentence, for who does not see it. */
export function describe({ from, seconds, rows, samples, values }: HeatmapAnswer, when: (time: number) => string): string {
  if (samples === 0) return "No samples.";
  const sums = Array.from({ length: seconds }, (_, s) => values.slice(s * rows, (s + 1) * rows).reduce((a, b) => a + b, 0));
  const most = sums.indexOf(Math.max(...sums));
  const quiet = sums.filter((sum) => sum === 0).length;
  return `${formatCount(samples)} samples in ${formatCount(seconds)} seconds; the busiest is ${when(from + most)} with ${formatCount(sums[most])}, ${quiet === 0 ? "none is" : quiet === 1 ? "1 is" : `${formatCount(quiet)} are`} without any.`;
}
