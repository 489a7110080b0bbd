import { formatRelative, formatTime, isRelative, parseTime } from "../data/time";
import { answeredWindow, go, state } from "./store";

/** Spans offered by the range menu, in seconds. */
export const PRESETS = [300, 900, 3600, 6 * 3600, 86400, 7 * 86400];

/** The window in unix seconds: the answer's, else what the expressions mean by this computer's clock. */
export function currentWindow(): { from: number; to: number } {
  const { from, to } = state.peek();
  const now = Date.now() / 1000;
  const answered = answeredWindow.peek();
  if (answered && (isRelative(from) || isRelative(to))) return answered;
  return { from: parseTime(from, now) ?? now - 900, to: parseTime(to, now) ?? now };
}

/** Shows a window of absolute times; ends live mode. */
export function showWindow(from: number, to: number): void {
  go({ from: formatTime(from), to: formatTime(to), live: false });
}

/** Shows the last seconds up to now. */
export function showLast(seconds: number): void {
  go({ from: formatRelative(seconds), to: "now" });
}

/** Steps by one window, back (-1) or forth (1); a step beyond now shows the latest. */
export function stepWindow(direction: -1 | 1): void {
  const { from, to } = currentWindow();
  const span = to - from;
  if (direction > 0 && to + span >= Date.now() / 1000) {
    if (state.peek().to !== "now") showLast(Math.round(span));
    return;
  }
  showWindow(from + direction * span, to + direction * span);
}

/** Three times the span around the same middle, not beyond now. */
export function widenWindow(): void {
  const { from, to } = currentWindow();
  const span = to - from;
  if (to + span >= Date.now() / 1000) return showLast(Math.round(span * 3));
  showWindow(from - span, to + span);
}

/** The times the answer covers, as absolute expressions: what a link to this very picture needs. */
export function pinnedTimes(): { from: string; to: string } {
  const { from, to } = currentWindow();
  return { from: formatTime(from), to: formatTime(to) };
}
