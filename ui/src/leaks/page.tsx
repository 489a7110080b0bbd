import { render } from "preact";
import { Leaks } from "./Leaks";
import { startLeaks } from "./store";

/** Begins to load, and draws the page. */
export function show(root: Element): void {
  startLeaks();
  render(<Leaks />, root);
}
