import { computed, effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";

const KEY = "flamekeeper-theme";
const system = signal(matchMedia("(prefers-color-scheme: dark)").matches);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (e) => (system.value = e.matches));

/** What the reader chose; kept in the browser, since it is a matter of the eyes and not of the address. */
export const theme = signal<Theme>(read());
export const dark = computed(() => (theme.value === "auto" ? system.value : theme.value === "dark"));

const motionQuery = matchMedia("(prefers-reduced-motion: reduce)");

/** Whether things may move. */
export function mayAnimate(): boolean {
  return !motionQuery.matches;
}

effect(() => {
  document.documentElement.dataset.theme = theme.value;
  try {
    localStorage.setItem(KEY, theme.value);
  } catch {
    // Storage may be forbidden: the choice then lasts as long as the page.
  }
});

function read(): Theme {
  try {
    const stored = localStorage.getItem(KEY);
    if (stored === "light" || stored === "dark") return stored;
  } catch {
    // As above.
  }
  return "auto";
}
