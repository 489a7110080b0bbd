import type { CallTree } from "./decode";
import { pathOf, resolvePath } from "./path";

/** The rows of a call tree written as a list: as many as are open, whatever the size of the tree. */
export interface TreeRows {
  /** The node of each row; `~node` is the row of what was cut below a node. */
  readonly node: Int32Array;
  /** Steps to the right. A chain of only children stays in line, so that deep stacks fit. */
  readonly indent: Int32Array;
}

/** Lists a node and what is open below it; without the node itself where `withRoot` is false. */
export function listRows(tree: CallTree, root: number, open: ReadonlySet<number>, withRoot: boolean): TreeRows {
  const rows: number[] = [];
  const indents: number[] = [];
  const add = (row: number, indent: number) => {
    rows.push(row);
    indents.push(indent);
  };
  // Two numbers a node: the row and its indent; the last is taken first.
  const waiting: number[] = [];
  const unfold = (node: number, indent: number) => {
    const children: number[] = [];
    for (let c = node + 1; c < tree.end[node]; c = tree.end[c]) children.push(c);
    if (tree.cut[node] > 0) children.push(~node);
    for (const child of children.reverse()) waiting.push(child, indent + (children.length > 1 ? 1 : 0));
  };
  if (withRoot) waiting.push(root, 0);
  else unfold(root, -1);
  while (waiting.length > 0) {
    const indent = Math.max(0, waiting.pop() as number);
    const node = waiting.pop() as number;
    add(node, indent);
    if (node >= 0 && open.has(node)) unfold(node, indent);
  }
  return { node: Int32Array.from(rows), indent: Int32Array.from(indents) };
}

/** Whether a row can be opened. */
export function hasChildren(tree: CallTree, row: number): boolean {
  return row >= 0 && (tree.end[row] > row + 1 || tree.cut[row] > 0);
}

/** A node and the heaviest callees under it, as long as one of them has the better part of its caller. */
export function heavyChain(tree: CallTree, root: number): Set<number> {
  const open = new Set<number>();
  for (let i = root; tree.end[i] > i + 1; i++) {
    open.add(i);
    if (tree.total[i + 1] * 2 < tree.total[i]) break;
  }
  return open;
}

/** What was open, found again in a new answer. */
export function carryOpen(from: CallTree, open: ReadonlySet<number>, to: CallTree): Set<number> {
  const out = new Set<number>();
  for (const node of open) {
    const path = pathOf(from, node);
    const { node: same, found } = resolvePath(to, path);
    if (found === path.length) out.add(same);
  }
  return out;
}

/** Where a key leads in a list of rows: another row, or a row to open or close. */
export type RowMove = { readonly to: number } | { readonly toggle: number } | null;

/** What an arrow key, Home or End means on row `at`: as the tree grid pattern of ARIA has it. */
export function moveRow(tree: CallTree, rows: TreeRows, open: ReadonlySet<number>, at: number, key: string): RowMove {
  const last = rows.node.length - 1;
  if (last < 0) return null;
  const node = rows.node[Math.max(0, at)];
  switch (key) {
    case "ArrowDown": return { to: Math.min(last, at + 1) };
    case "ArrowUp": return { to: Math.max(0, at - 1) };
    case "PageDown": return { to: Math.min(last, at + 15) };
    case "PageUp": return { to: Math.max(0, at - 15) };
    case "Home": return { to: 0 };
    case "End": return { to: last };
    case "ArrowRight":
      if (!hasChildren(tree, node)) return null;
      return open.has(node) ? { to: Math.min(last, at + 1) } : { toggle: node };
    case "ArrowLeft": {
      if (node >= 0 && open.has(node)) return { toggle: node };
      const caller = rows.node.indexOf(node >= 0 ? tree.parent[node] : ~node);
      return caller >= 0 && caller !== at ? { to: caller } : null;
    }
    default: return null;
  }
}
