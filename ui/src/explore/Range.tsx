import { useState } from "preact/hooks";
import { formatLocal, formatSpan, parseTime } from "../data/time";
import { PRESETS } from "./window";

/** A window for reading; `answered` are the times that its answer covers. */
export function rangeText({ from, to }: { from: string; to: string }, answered: { from: number; to: number } | null): string {
  const relative = /^-(\d+)([smhdw])$/.exec(from);
  if (to === "now" && relative) return `last ${relative[1]} ${{ s: "s", m: "min", h: "h", d: "d", w: "w" }[relative[2]]}`;
  const now = Date.now() / 1000;
  const a = parseTime(from, now) ?? answered?.from;
  const b = parseTime(to, now) ?? answered?.to;
  if (a === undefined || b === undefined) return `${from} – ${to}`;
  // The day is told once.
  const sameDay = new Date(a * 1000).toDateString() === new Date(b * 1000).toDateString();
  return `${formatLocal(a, now)} – ${formatLocal(b, sameDay ? b : now)} · ${formatSpan(b - a)}`;
}

interface RangePanelProps {
  from: string;
  to: string;
  close: () => void;
  onLast: (seconds: number) => void;
  onTimes: (from: string, to: string) => void;
}

/** Spans up to now, and two fields for times. */
export function RangePanel({ close, onLast, onTimes, ...given }: RangePanelProps) {
  const [from, setFrom] = useState(given.from);
  const [to, setTo] = useState(given.to);
  const now = Date.now() / 1000;
  const a = parseTime(from, now);
  const b = parseTime(to, now);
  const error = a === null || b === null ? "Write 2026-11-24 14:00, -2h, or now." : a >= b ? "From must be before to." : null;
  const apply = (e: Event) => {
    e.preventDefault();
    if (error !== null) return;
    onTimes(from.trim(), to.trim());
    close();
  };
  return (
    <>
      <div class="presets">
        {PRESETS.map((s) => <button type="button" class="option" key={s} onClick={() => { onLast(s); close(); }}>Last {formatSpan(s)}</button>)}
      </div>
      <form class="absolute" onSubmit={apply}>
        <label>From<input class="control mono" value={from} onInput={(e) => setFrom(e.currentTarget.value)} data-autofocus /></label>
        <label>To<input class="control mono" value={to} onInput={(e) => setTo(e.currentTarget.value)} /></label>
        <p class="quiet">{error ?? "Local time without a zone; -2h and now move with the clock."}</p>
        <button type="submit" class="control primary" disabled={error !== null}>Show</button>
      </form>
    </>
  );
}
