import type { TimeseriesAnswer } from "./answers";

/** A stacked chart: upper edges, the tallest first, so that each may be painted over the one before. */
export interface Stack {
  /** Unix seconds: the beginning of each step, and the end of the last. */
  readonly xs: number[];
  /** Rates: value per second; for nanoseconds of CPU time, cores; a level as it is. */
  readonly tops: number[][];
  /** Index of the series each edge belongs to; -1 is the rest. */
  readonly order: number[];
}

/** Stacks the series of an answer, the first at the bottom and the rest on top. */
export function stack(answer: TimeseriesAnswer, level = false): Stack {
  const { points, step, from } = answer;
  const perSecond = level ? 1 : 1 / step / (answer.unit === "nanoseconds" ? 1e9 : 1);
  const xs = Array.from({ length: points + 1 }, (_, i) => from + i * step);
  const sum = new Float64Array(points);
  const tops: number[][] = [];
  const order: number[] = [];
  const add = (values: readonly number[], index: number) => {
    for (let i = 0; i < points; i++) sum[i] += (values[i] ?? 0) * perSecond;
    // A step reaches to the beginning of the next: the last is repeated at its end.
    tops.unshift([...sum, points > 0 ? sum[points - 1] : 0]);
    order.unshift(index);
  };
  answer.series.forEach((s, i) => add(s.values, i));
  if (answer.rest.some((v) => v > 0)) add(answer.rest, -1);
  return { xs, tops, order };
}
