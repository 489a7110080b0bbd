/** Where the lines of a chart's axes stand. */

// Seconds between lines that a clock or calendar would have.
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000];

/** Unix seconds of at most `most` lines in a window, on round local times. */
export function timeTicks(from: number, to: number, most: number): number[] {
  const step = TIME_STEPS.find((s) => (to - from) / s <= most) ?? (to - from) / Math.max(1, most);
  const offset = new Date(from * 1000).getTimezoneOffset() * 60;
  const ticks: number[] = [];
  for (let t = Math.ceil((from - offset) / step) * step + offset; t <= to; t += step) ticks.push(t);
  return ticks;
}

/** Values from 0 of at most `most + 1` lines, by steps of 1, 2 or 5 times a power of ten. */
export function valueTicks(max: number, most: number): number[] {
  if (!(max > 0)) return [0];
  const rough = max / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((m) => m * power >= rough * (1 - 1e-9)) ?? 10);
  return Array.from({ length: Math.floor(max / step + 1e-9) + 1 }, (_, i) => i * step);
}

// Steps between two units of bytes, each 1024 times the one below.
const BYTE_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500];

/** The same for bytes: steps that are round in the binary unit that they are told in. */
export function byteTicks(max: number, most: number): number[] {
  if (!(max > 0)) return [0];
  const rough = max / Math.max(1, most);
  const unit = 1024 ** Math.max(0, Math.floor(Math.log2(rough) / 10));
  const step = unit * (BYTE_STEPS.find((m) => m * unit >= rough * (1 - 1e-9)) ?? 1024);
  return Array.from({ length: Math.floor(max / step + 1e-9) + 1 }, (_, i) => i * step);
}

/** A time on the axis: seconds only where the line stands between minutes, the day at midnight of long windows. */
export function clock(seconds: number, span: number): string {
  const date = new Date(seconds * 1000);
  const time = date.toLocaleTimeString("en-GB", { hour12: false });
  if (span > 86400 && date.getHours() === 0 && date.getMinutes() === 0) return date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return date.getSeconds() === 0 ? time.slice(0, 5) : time;
}
