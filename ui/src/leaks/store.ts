import { computed, signal } from "@preact/signals";
import { apiUrl } from "../data/api";
import { chooseSuspects, formatLeaks, keyOf, parseLeaks, type LeaksAnswer, type LeaksState } from "../data/leaks";
import { Resource } from "../data/resource";
import { formatRelative } from "../data/time";
import { goTo, keepFresh } from "../listing/address";

// What the collector tells at most.
const SUSPECTS = 100;

/** What the address says. */
export const state = signal<LeaksState>(parseLeaks(location.search));

const leaks = new Resource<LeaksAnswer, LeaksAnswer>((answer) => answer);
export const loaded = leaks.state;

/** The rows of the table, in order; null before the first answer. */
export const rows = computed(() => loaded.value.value && chooseSuspects(loaded.value.value.suspects, state.value.find));

/** The suspect whose details are shown: the one in the address, else the first. */
export const shown = computed(() => {
  const list = rows.value ?? [];
  return list.find((suspect) => keyOf(suspect) === state.value.open) ?? list[0] ?? null;
});

/** Changes the state: `push` makes a step that Back undoes, `replace` does not. */
export function go(change: Partial<LeaksState>, how: "push" | "replace" = "push"): void {
  const next = { ...state.peek(), ...change };
  goTo(state, next, formatLeaks(next), how);
}

/** Requests the verdicts anew. */
export function refresh(): void {
  void leaks.load(apiUrl("leaks", { from: formatRelative(state.peek().window), limit: SUSPECTS }));
}

/** Begins to load, and keeps the page fresh while it is looked at. */
export function startLeaks(): void {
  keepFresh(state, parseLeaks, refresh);
}
