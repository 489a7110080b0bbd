/** Times as the API takes them: RFC 3339, unix seconds, `now`, or relative to now (`-15m`). */

const RELATIVE = /^-(\d+(?:\.\d+)?)(ms|s|m|h|d|w)$/;
const SECONDS: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400, w: 604800 };

/** Unix seconds of an expression, or null when it is none. */
export function parseTime(text: string, now: number): number | null {
  const trimmed = text.trim();
  if (trimmed === "now") return now;
  const relative = RELATIVE.exec(trimmed);
  if (relative) return now - Number(relative[1]) * SECONDS[relative[2]];
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed);
  if (!/^\d{4}-\d{2}-\d{2}/.test(trimmed)) return null;
  const ms = Date.parse(trimmed.replace(" ", "T"));
  return Number.isNaN(ms) ? null : ms / 1000;
}

/** Whether the expression moves with the clock. */
export function isRelative(text: string): boolean {
  return text === "now" || RELATIVE.test(text);
}

/** Unix seconds as RFC 3339 in UTC, with milliseconds only where there are any. */
export function formatTime(seconds: number): string {
  const ms = Math.round(seconds * 1000);
  const iso = new Date(ms).toISOString();
  return ms % 1000 === 0 ? iso.replace(".000Z", "Z") : iso;
}

/** Seconds as the shortest relative expression: 900 is `-15m`. */
export function formatRelative(seconds: number): string {
  for (const unit of ["w", "d", "h", "m"]) {
    if (seconds >= SECONDS[unit] && seconds % SECONDS[unit] === 0 && unit !== "w") return `-${seconds / SECONDS[unit]}${unit}`;
  }
  return `-${Math.round(seconds)}s`;
}

/** A span for reading: `15 min`, `1 h`, `2 d 3 h`. */
export function formatSpan(seconds: number): string {
  const units: [string, number][] = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let left = Math.round(seconds);
  const parts: string[] = [];
  for (const [unit, size] of units) {
    const n = Math.floor(left / size);
    if (n === 0) continue;
    parts.push(`${n} ${unit}`);
    left -= n * size;
    if (parts.length === 2) break;
  }
  return parts.join(" ") || `${Math.round(seconds * 1000)} ms`;
}

/** How long ago, in one unit: `3 h`. */
export function formatAge(seconds: number): string {
  return formatSpan(Math.max(1, seconds)).split(" ", 2).join(" ");
}

/** Local date and time for reading; the date only when it is not today's. */
export function formatLocal(seconds: number, now: number): string {
  const date = new Date(seconds * 1000);
  const clock = date.toLocaleTimeString("en-GB", { hour12: false });
  if (date.toDateString() === new Date(now * 1000).toDateString()) return clock;
  return `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${clock}`;
}
