import { go, state } from "./store";

/** What the pane beside the table can show: two directions of the flamegraph, and two lists. */
export type PaneChoice = "flame" | "icicle" | "tree" | "callers";

/** Shows it, beside the table or alone as the layout was; where only the table was shown, beside it. */
export function showPane(choice: PaneChoice): void {
  const { view } = state.peek();
  const layout = { view: view === "table" ? "split" : view } as const;
  if (choice === "tree" || choice === "callers") go({ ...layout, pane: choice }, "replace");
  else go({ ...layout, pane: "graph", direction: choice }, "replace");
}
