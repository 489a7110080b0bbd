/** What the page of services says of their memory, derived from `GET /api/v1/memory`: pure, so that it is tested without a browser. */

import type { MemoryRow } from "./answers";
import { exploreUrl } from "./services";
import { formatSpan } from "./time";
import { formatBytes } from "./units";

/** Resident bytes in the newest step that has any; 0 where none has. */
export function resident({ levels }: MemoryRow): number {
  return levels.memory_rss?.findLast((level) => level > 0) ?? 0;
}

/** How fast it grows, and how long what is left lasts; empty where it does not grow. */
export function growthText({ verdict, slope, limit }: MemoryRow): string {
  if (verdict !== "grows") return "";
  const until = limit?.seconds == null ? "" : `, the ${limit.of} is full in ${formatSpan(Math.round(limit.seconds))}`;
  return `+${formatBytes(Math.round(slope))}/s${until}`;
}

/** Where Explore shows the course of what grows: memory of no file. */
export function memoryUrl(service: string, from: string): string {
  return `${exploreUrl(service, from)}&type=memory_anon`;
}
