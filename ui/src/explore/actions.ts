import { pathOf } from "../data/path";
import { announcement, engine, selected } from "./focus";
import type { Graph } from "./graph";
import { menu, type MenuSubject } from "./menuState";
import { lastSegment } from "../flame/names";
import { go, shown, state, transform, zoomTo } from "./store";

/** One thing to do with a function. */
export interface Action {
  /** Stable, for tests. */
  readonly id: string;
  readonly label: string;
  /** A key, or a few words. */
  readonly hint?: string;
  readonly run: () => void;
}

/** What can be done with the subject, in groups. */
export function menuItems(subject: MenuSubject): Action[][] {
  const { name } = subject;
  const place: Action[] = [];
  // Rows of callers and callees are places in trees of their own: nothing to zoom into.
  const { at } = subject;
  if (at && at.tree === shown.peek()?.profile.tree) {
    place.push({ id: "zoom", label: "Zoom in", hint: "Enter", run: () => zoomTo(pathOf(at.tree, at.node)) });
  }
  if (name === "") return [place];
  place.push({ id: "callers", label: "Callers and callees", hint: "c", run: () => showCallers(name) });
  place.push({ id: "search", label: "Search for it", run: () => go({ search: name }, "replace") });
  const copy: Action[] = [{ id: "copy-name", label: "Copy name", run: () => void copyText(name, "name") }];
  if (at) copy.push({ id: "copy-stack", label: "Copy stack", run: () => void copyText(stackText(at), "stack") });
  return [place, transformsOf(subject), copy];
}

function transformsOf({ name, module }: MenuSubject): Action[] {
  const actions: Action[] = [
    { id: "focus", label: "Focus on it", hint: "only stacks through it", run: () => transform({ kind: "focus", subject: name }) },
    { id: "hide", label: "Hide", hint: "no stacks through it", run: () => transform({ kind: "hide", subject: name }) },
    { id: "merge", label: "Merge", hint: "into its callers", run: () => transform({ kind: "merge", subject: name }) },
    { id: "recursion", label: "Collapse recursion", run: () => transform({ kind: "recursion", subject: name }) },
  ];
  if (module !== "") actions.push({ id: "module", label: "Collapse module", hint: lastSegment(module), run: () => transform({ kind: "module", subject: module }) });
  return actions;
}

/** Shows callers and callees of a function beside the table, or alone where the table is closed. */
export function showCallers(name: string): void {
  go({ fn: name, pane: "callers", view: state.peek().view === "table" ? "split" : state.peek().view });
}

/** Callers and callees of what is selected, else of the zoom. */
export function callersOfSelected(): void {
  const view = shown.peek();
  if (!view) return;
  const node = selected.peek() >= 0 ? selected.peek() : view.node;
  const name = node > 0 ? view.profile.tree.frames.name[view.profile.tree.frame[node]] : "";
  showCallers(name || state.peek().fn);
}

/** Opens the menu of what is selected in a flamegraph. */
export function menuOfSelected(graph: Graph): void {
  const view = graph.shown.peek();
  const node = selected.peek();
  if (!view || node < 0) return;
  const rect = engine.peek()?.rectOf(node);
  const { tree } = view;
  const { frames, frame } = tree;
  menu.value = { name: frames.name[frame[node]], module: frames.module[frame[node]], at: { tree, node }, x: rect ? rect.x + 24 : innerWidth / 2, y: rect ? rect.y + rect.h : innerHeight / 2, opener: document.activeElement as HTMLElement | null };
}

/** A stack as text, leaf first, as debuggers write it. */
export function stackText({ tree, node }: NonNullable<MenuSubject["at"]>): string {
  const { frames } = tree;
  const lines: string[] = [];
  for (let i = node; i > 0; i = tree.parent[i]) {
    const f = tree.frame[i];
    const place = frames.file[f] ? ` at ${frames.file[f]}${frames.line[f] > 0 ? `:${frames.line[f]}` : ""}` : "";
    lines.push(`${frames.name[f]}${place}${frames.module[f] ? ` (${frames.module[f]})` : ""}`);
  }
  return lines.join("\n");
}

/** Copies a text, and says so. */
export async function copyText(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    announcement.value = `Copied the ${what}`;
  } catch {
    // Without https the clipboard is closed to scripts, but not to a selection.
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    announcement.value = document.execCommand("copy") ? `Copied the ${what}` : `The browser did not let the ${what} be copied`;
    area.remove();
  }
}
