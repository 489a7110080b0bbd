import type { CallTree } from "./decode";

/** A place in the call tree that survives a new answer: names from the root's child on, root first. */
export type FramePath = readonly PathStep[];

export interface PathStep {
  readonly name: string;
  /** Which of the siblings with this name, in the order of the answer: 0 for almost all. */
  readonly nth: number;
}

const UNIT_SEPARATOR = "\u001f";
const RECORD_SEPARATOR = "\u001e";

/** The path of a node; empty for the root. */
export function pathOf(tree: CallTree, node: number): FramePath {
  const steps: PathStep[] = [];
  for (let i = node; i > 0; i = tree.parent[i]) {
    const name = tree.frames.name[tree.frame[i]];
    steps.push({ name, nth: siblingsNamed(tree, i, name) });
  }
  return steps.reverse();
}

function siblingsNamed(tree: CallTree, node: number, name: string): number {
  let nth = 0;
  for (let c = tree.parent[node] + 1; c < node; c = tree.end[c]) {
    if (tree.frames.name[tree.frame[c]] === name) nth++;
  }
  return nth;
}

/** The deepest node on the path that the tree has, and how many steps of the path it stands for. */
export function resolvePath(tree: CallTree, path: FramePath): { node: number; found: number } {
  let node = 0;
  for (let step = 0; step < path.length; step++) {
    const child = childNamed(tree, node, path[step]);
    if (child < 0) return { node, found: step };
    node = child;
  }
  return { node, found: path.length };
}

function childNamed(tree: CallTree, node: number, step: PathStep): number {
  let last = -1;
  let left = step.nth;
  for (let c = node + 1; c < tree.end[node]; c = tree.end[c]) {
    if (tree.frames.name[tree.frame[c]] !== step.name) continue;
    last = c;
    if (left-- === 0) break;
  }
  return last;
}

/** Whether anything below the node was left out by the server: only a new request can show it. */
export function isPruned(tree: CallTree, node: number): boolean {
  for (let i = node; i < tree.end[node]; i++) if (tree.cut[i] > 0) return true;
  return false;
}

/** The `path` parameter of the API: names joined by U+001F. */
export function pathParameter(path: FramePath): string {
  return path.map((step) => step.name).join(UNIT_SEPARATOR);
}

/** The path as the page's own address holds it: as the API's, an ordinal after U+001E where names repeat. */
export function formatPath(path: FramePath): string {
  return path.map((step) => (step.nth ? step.name + RECORD_SEPARATOR + step.nth : step.name)).join(UNIT_SEPARATOR);
}

/** Reads what formatPath wrote; never fails. */
export function parsePath(text: string): FramePath {
  if (text === "") return [];
  return text.split(UNIT_SEPARATOR).map((part) => {
    const [name, nth] = part.split(RECORD_SEPARATOR);
    return { name, nth: Math.max(0, Number.parseInt(nth ?? "0", 10) || 0) };
  });
}
