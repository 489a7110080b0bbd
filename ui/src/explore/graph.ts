import type { ReadonlySignal } from "@preact/signals";
import type { CallTree } from "../data/decode";
import type { FramePath } from "../data/path";
import type { Direction } from "../data/url";
import type { Found } from "../flame/search";

/** A call tree on a page: what is seen of it, and what its page does when that is to change. The flamegraph, the keys and the search know no more of their page. */
export interface Graph {
  /** The tree, and the node it is zoomed on; null before the first answer. */
  readonly shown: ReadonlySignal<{ readonly tree: CallTree; readonly node: number } | null>;
  /** What the search matches in view; an error text for a broken expression. */
  readonly found: ReadonlySignal<Found | { error: string } | null>;
  readonly search: ReadonlySignal<string>;
  readonly direction: ReadonlySignal<Direction>;
  zoomTo(path: FramePath): void;
  searchFor(text: string): void;
}
