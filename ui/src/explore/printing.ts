import { signal } from "@preact/signals";
import { options } from "preact";

/** Whether the page is being put on paper: then a list shows its rows at once, and not only those in view. */
export const printing = signal(false);

// The browser takes the page as it is when the event has been handled, so what depends on it is drawn within.
function set(on: boolean): void {
  const { debounceRendering } = options;
  options.debounceRendering = (render) => render();
  printing.value = on;
  options.debounceRendering = debounceRendering;
}

addEventListener("beforeprint", () => set(true));
addEventListener("afterprint", () => set(false));
