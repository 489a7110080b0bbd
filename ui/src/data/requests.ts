/** Requests that were posted, as the page of diffs offers them: pure, so that it is tested without a browser. */

import type { RequestsSum } from "./answers";
import { formatCount } from "./units";

/** What was posted for one side. */
export interface PostedSide {
  readonly count: number;
  /** Hosts that the counts name; 0 where they are of all hosts together. */
  readonly hosts: number;
}

/** What was posted for a service, version and host, null for any: the counts that the collector takes. Null where there are none. */
export function postedFor(sums: readonly RequestsSum[], service: string, version: string | null, host: string | null): PostedSide | null {
  const of = sums.filter((sum) => sum.service === service && (host === null || sum.host === host));
  const named = version === null ? of : of.filter((sum) => sum.version === version);
  const taken = named.length > 0 ? named : of.filter((sum) => sum.version === "");
  const together = taken.filter((sum) => sum.host === "");
  const counts = together.length > 0 ? together : taken;
  if (counts.length === 0) return null;
  const hosts = together.length > 0 ? 0 : new Set(counts.map((sum) => sum.host)).size;
  return { count: counts.reduce((sum, { count }) => sum + count, 0), hosts };
}

/** What is said of a side's counts. */
export function describePosted(posted: PostedSide | null): string {
  if (!posted) return "nothing was posted";
  return `${formatCount(posted.count)} posted${posted.hosts > 0 ? ` by ${posted.hosts} ${posted.hosts === 1 ? "host" : "hosts"}` : ""}`;
}
