import { computed, signal } from "@preact/signals";
import type { ServicesAnswer, TimeseriesAnswer } from "../data/answers";
import { apiUrl } from "../data/api";
import { Resource } from "../data/resource";
import { chooseServices, formatServices, parseServices, serviceViews, type ServicesState } from "../data/services";
import { formatRelative } from "../data/time";
import { goTo, keepFresh } from "../listing/address";
import { compareDeploys, lookForDeploys } from "./changes";

// Services with a trend of their own; the sparkline of further ones is left out.
const TRENDS = 100;

/** What the address says. */
export const state = signal<ServicesState>(parseServices(location.search));

const services = new Resource<ServicesAnswer, { answer: ServicesAnswer; window: number }>((answer) => ({ answer, window: state.peek().window }));
const series = new Resource<TimeseriesAnswer, TimeseriesAnswer>((answer) => answer);
export const loaded = services.state;

/** Every service of the window; null before the first answer. */
export const views = computed(() => {
  const { value } = loaded.value;
  return value && serviceViews(value.answer.services, series.state.value.value, value.window);
});

/** The rows of the table, in order; null before the first answer. */
export const rows = computed(() => views.value && chooseServices(views.value, state.value));

/** Changes the state: `push` makes a step that Back undoes, `replace` does not. */
export function go(change: Partial<ServicesState>, how: "push" | "replace" = "push"): void {
  const next = { ...state.peek(), ...change };
  goTo(state, next, formatServices(next), how);
}

/** Requests the services anew. */
export function refresh(): void {
  const from = formatRelative(state.peek().window);
  lookForDeploys();
  void services.load(apiUrl("services", { from }));
  void series.load(apiUrl("timeseries", { from, by: "service", limit: TRENDS }));
}

/** Begins to load, and keeps the page fresh while it is looked at. */
export function startServices(): void {
  keepFresh(state, parseServices, refresh);
  compareDeploys();
}
