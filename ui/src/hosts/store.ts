import { computed, signal } from "@preact/signals";
import type { StatusAnswer } from "../data/answers";
import { apiUrl } from "../data/api";
import { collectorFacts, type Fact } from "../data/collector";
import { formatHosts, hostView, parseHosts, sortHosts, type HostsAnswer, type HostsState } from "../data/hosts";
import { Resource } from "../data/resource";
import { formatRelative } from "../data/time";
import { goTo, keepFresh } from "../listing/address";

/** What the address says. */
export const state = signal<HostsState>(parseHosts(location.search));

const hosts = new Resource<HostsAnswer, { answer: HostsAnswer; at: number }>((answer) => ({ answer, at: Date.now() / 1000 }));
export const loaded = hosts.state;

const status = new Resource<StatusAnswer, Fact[]>((answer) => collectorFacts(answer, Date.now() / 1000));
export const collector = status.state;

/** The table's rows, in order; null before the first answer. */
export const rows = computed(() => {
  const value = loaded.value.value;
  return value && sortHosts(value.answer.hosts.map((row) => hostView(row, value.at, state.value.window)), state.value);
});

/** Changes the state, as a step that Back undoes. */
export function go(change: Partial<HostsState>): void {
  const next = { ...state.peek(), ...change };
  goTo(state, next, formatHosts(next));
}

/** Requests hosts and status anew. */
export function refresh(): void {
  void status.load(apiUrl("status", {}));
  void hosts.load(apiUrl("hosts", { from: formatRelative(state.peek().window) }));
}

/** Begins to load, and keeps the page fresh while it is looked at. */
export function startHosts(): void {
  keepFresh(state, parseHosts, refresh);
}
