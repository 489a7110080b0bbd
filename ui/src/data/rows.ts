import type { TopFunction } from "./answers";
import type { SortKey } from "./url";

/** The functions whose name, module or file holds the filter regardless of case, in the order asked for. */
export function tableRows(functions: readonly TopFunction[], filter: string, sort: SortKey): TopFunction[] {
  const needle = filter.trim().toLowerCase();
  const holds = (text: string) => text.toLowerCase().includes(needle);
  const rows = needle === "" ? [...functions] : functions.filter((f) => holds(f.name) || holds(f.module) || holds(f.file));
  if (sort === "name") return rows.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return rows.sort((a, b) => b[sort] - a[sort] || b.total - a.total);
}

/** The rows `[first, last)` to put into the page for a scrolled viewport, with some beyond its edges. */
export function visibleRows(count: number, scroll: number, height: number, row: number): { first: number; last: number } {
  const margin = 8;
  const first = Math.max(0, Math.floor(scroll / row) - margin);
  return { first: Math.min(first, count), last: Math.min(count, Math.ceil((scroll + height) / row) + margin) };
}
