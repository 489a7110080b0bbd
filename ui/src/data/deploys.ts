/** Deploys as pages show them, derived from `GET /api/v1/deploys`: pure, so that it is tested without a browser. */

import type { Deploy } from "./answers";
import { diffUrl } from "./diffState";
import { formatSelector } from "./selector";
import { formatTime } from "./time";

// A version is often a build id of 40 digits: the first ones tell it apart.
const SHOWN = 14;

/** A version as short as it can be told by. */
export function shortVersion(version: string): string {
  return version.length > SHOWN ? `${version.slice(0, SHOWN - 1)}…` : version;
}

/** The newest deploy or rollback of each service. */
export function lastDeploys(deploys: readonly Deploy[]): Map<string, Deploy> {
  const last = new Map<string, Deploy>();
  for (const deploy of deploys) {
    if (deploy.kind === "mark" || (last.get(deploy.service)?.at ?? -Infinity) > deploy.at) continue;
    last.set(deploy.service, deploy);
  }
  return last;
}

// Seconds on both sides of a mark: it names no versions, so there is nothing to choose windows by.
const AROUND_MARK = 900;

/** Where the page shows before and after. */
export function deployUrl({ service, version, previous, kind, at }: Deploy): string {
  if (kind !== "mark") return diffUrl({ deploy: service, version, previous });
  const query = formatSelector([{ label: "service", op: "=", value: service }]);
  return diffUrl({
    a: { query, from: formatTime(at - AROUND_MARK), to: formatTime(at) },
    b: { query, from: formatTime(at), to: formatTime(at + AROUND_MARK) },
  });
}

const WORDS = { deploy: "deploy", rollback: "rollback", mark: "mark" } as const;

/** A deploy in words. */
export function deployText({ service, version, previous, kind, hosts, text }: Deploy): string {
  const what = kind === "mark" ? text || version || "marked" : `${previous || "?"} → ${version}`;
  const where = hosts.length > 0 ? ` on ${hosts.length} ${hosts.length === 1 ? "host" : "hosts"}` : "";
  return `${WORDS[kind]} of ${service}: ${what}${where}`;
}

/** Deploys at one place of a time axis: those that would overlap stand together. */
export interface Marker {
  /** Share (0 to 1) of the axis. */
  readonly at: number;
  /** Oldest first. */
  readonly deploys: readonly Deploy[];
}

/** Markers of the deploys in a window, none nearer to the one before than `gap` (a share of the axis). */
export function markersOf(deploys: readonly Deploy[], from: number, to: number, gap: number): Marker[] {
  const markers: { at: number; deploys: Deploy[] }[] = [];
  for (const deploy of [...deploys].sort((a, b) => a.at - b.at)) {
    const at = (deploy.at - from) / (to - from);
    if (!(at >= 0 && at <= 1)) continue;
    const before = markers.at(-1);
    if (before && at - before.at < gap) before.deploys.push(deploy);
    else markers.push({ at, deploys: [deploy] });
  }
  return markers;
}

// A label that would leave the axis on the right stands left of its line.
const LATE = 0.85;

/** On which side of its line each marker's label stands, and how much of the axis it may take: two labels between the same lines share that. */
export function labelRoom(markers: readonly Pick<Marker, "at">[]): { late: boolean; room: number }[] {
  const isLate = (i: number) => markers[i].at > LATE;
  return markers.map(({ at }, i) => {
    const late = isLate(i);
    const other = late ? i - 1 : i + 1;
    if (other < 0 || other >= markers.length) return { late, room: 1 };
    const between = Math.abs(markers[other].at - at);
    return { late, room: isLate(other) === late ? between : between / 2 };
  });
}
