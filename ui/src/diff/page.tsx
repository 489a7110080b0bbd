import { render } from "preact";
import { DiffPage } from "./DiffPage";
import { startDiff } from "./store";

/** Begins to load, and draws the page. */
export function show(root: Element): void {
  startDiff();
  render(<DiffPage />, root);
}
