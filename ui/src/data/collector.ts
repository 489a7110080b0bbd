/** What the collector says of itself and its disk, from `GET /api/v1/status`: pure, so that it is tested without a browser. */

import type { StatusAnswer } from "./answers";
import { formatSpan } from "./time";
import { formatBytes, formatCount } from "./units";

/** One thing to know of the collector. */
export interface Fact {
  readonly label: string;
  readonly text: string;
  readonly title: string;
  readonly bad?: boolean;
}

/** The facts, in the order to read them; what an older collector does not say is left out. `now` in unix seconds. */
export function collectorFacts({ version, started, store_bytes, store, symbols }: StatusAnswer, now: number): Fact[] {
  const facts: Fact[] = [{ label: "Collector", text: `${version}, up ${formatSpan(Math.max(1, now - started)) || "0 s"}`, title: "Its version, and the time since it started" }];
  if (store_bytes !== undefined) facts.push({ label: "Profiles on disk", text: formatBytes(store_bytes), title: "What the stored profiles take, without symbols" });
  if (store) {
    facts.push({ label: "Kept", text: kept(store.raw_from, store.minute_from, store.hour_from, now), title: "How far back windows of 10 s, minutes and hours are whole, as long as there were samples: by age, and sooner deleted where room is short" });
    if (store.deleted_by_size > 0) facts.push({ label: "Deleted for room", text: `${formatCount(store.deleted_by_size)} times`, title: "The oldest profiles were deleted before their age, because the store reached its size: allow it more by max_bytes in [retention]" });
    if (store.refused_full > 0) facts.push({ label: "Sent away", text: `${formatCount(store.refused_full)} batches`, title: "The disk has no room. Agents keep their batches and send them again: make room before their spools are full", bad: true });
    if (!store.writable) facts.push({ label: "Store", text: "takes no writes", title: "Agents keep their batches until it does; the collector's log says why", bad: true });
  }
  if (symbols) facts.push({ label: "Symbols", text: `${formatCount(symbols.objects)} objects, ${formatBytes(symbols.bytes)} of ${formatBytes(symbols.quota_bytes)}`, title: symbols.bad > 0 ? `${formatCount(symbols.bad)} more objects could not be read: flamekeeper symbols list` : "What names functions; what was used least lately makes room" });
  return facts;
}

function kept(raw: number, minute: number, hour: number, now: number): string {
  const since = (from: number) => (from > 0 ? formatSpan(Math.max(0, now - from)).split(" ").slice(0, 2).join(" ") : "everything");
  return `10 s: ${since(raw)} · minutes: ${since(minute)} · hours: ${since(hour)}`;
}
