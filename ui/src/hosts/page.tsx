import { render } from "preact";
import { Hosts } from "./Hosts";
import { startHosts } from "./store";

/** Begins to load, and draws the page. */
export function show(root: Element): void {
  startHosts();
  render(<Hosts />, root);
}
