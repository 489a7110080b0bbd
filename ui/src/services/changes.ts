import { computed, effect, signal } from "@preact/signals";
import type { CompareAnswer, Deploy, DeploysAnswer, DiffAnswer } from "../data/answers";
import { apiUrl, getJson } from "../data/api";
import { lastDeploys } from "../data/deploys";
import { Resource } from "../data/resource";

// As far back as the collector looks for windows to compare.
const FROM = "-7d";
// Seconds between looks for deploys, and after which a young deploy is compared anew: it has more samples then.
const LOOK_SECONDS = 60;
const ANEW_SECONDS = 300;
const YOUNG_SECONDS = 4200;
// Services whose last deploy is compared unasked: a diff is the collector's dearest answer.
const COMPARED = 5;

/** What changed with a deploy, in short. */
export type Change = Pick<DiffAnswer, "unit" | "weight_unit" | "a" | "b" | "statistics" | "functions">;

const deployed = new Resource<DeploysAnswer, Map<string, Deploy>>((answer) => lastDeploys(answer.deploys));

/** The last deploy of each service; null before the first answer. */
export const deploys = computed(() => deployed.state.value.value);

const known = signal<ReadonlyMap<string, { change: Change | null; at: number }>>(new Map());
const keyOf = ({ service, version, at }: Deploy) => `${service}\n${version}\n${at}`;

/** What changed with a deploy; null where nothing is known of it, or not yet. */
export function changeOf(deploy: Deploy): Change | null {
  return known.value.get(keyOf(deploy))?.change ?? null;
}

let looked = 0;

/** Looks for deploys, unless that was done a moment ago. */
export function lookForDeploys(): void {
  const now = Date.now() / 1000;
  if (now - looked < LOOK_SECONDS) return;
  looked = now;
  void deployed.load(apiUrl("deploys", { from: FROM }));
}

/** Compares before and after the newest deploys, one after the other. */
export function compareDeploys(): void {
  let working = false;
  effect(() => {
    const newest = [...(deploys.value?.values() ?? [])].sort((a, b) => b.at - a.at).slice(0, COMPARED);
    if (working || newest.length === 0) return;
    working = true;
    void compareEach(newest).finally(() => (working = false));
  });
}

async function compareEach(list: readonly Deploy[]): Promise<void> {
  for (const deploy of list) {
    const before = known.peek().get(keyOf(deploy));
    const now = Date.now() / 1000;
    if (before && (now - before.at < ANEW_SECONDS || before.at - deploy.at > YOUNG_SECONDS)) continue;
    const change = await compare(deploy).catch(() => null);
    known.value = new Map(known.peek()).set(keyOf(deploy), { change, at: now });
  }
}

async function compare({ service, version, previous }: Deploy): Promise<Change> {
  const { signal: never } = new AbortController();
  const { a, b } = await getJson<CompareAnswer>(apiUrl("deploys/compare", { service, version, from_version: previous }), never);
  return getJson<DiffAnswer>(apiUrl("diff", { query_a: a.query, from_a: a.from, to_a: a.to, query_b: b.query, from_b: b.from, to_b: b.to, max_nodes: 1, limit: 1 }), never);
}
