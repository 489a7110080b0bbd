import { computed, effect, type Signal } from "@preact/signals";

/** Seconds between refreshes: agents report every ten. */
const REFRESH_SECONDS = 10;

/** Takes up a state, and its address: `push` makes a step that Back undoes, `replace` does not. */
export function goTo<S>(state: Signal<S>, next: S, query: string, how: "push" | "replace" = "push"): void {
  const address = location.pathname + query;
  if (address !== location.pathname + location.search) {
    if (how === "push") history.pushState(null, "", address);
    else history.replaceState(null, "", address);
  }
  state.value = next;
}

/** Follows the address, begins to load, and loads anew with each other window and while the page is looked at. */
export function keepFresh<S extends { window: number }>(state: Signal<S>, parse: (query: string) => S, refresh: () => void): void {
  window.addEventListener("popstate", () => (state.value = parse(location.search)));
  const span = computed(() => state.value.window);
  effect(() => {
    if (span.value) refresh();
  });
  setInterval(() => document.visibilityState === "visible" && refresh(), REFRESH_SECONDS * 1000);
}
