import type { TopFunction } from "./answers";
import type { CallTree } from "./decode";

/**
 * The functions of a tree by self, as `GET /api/v1/top` tells them of the whole selection: `total` counts a stack once,
 * however often the function recurs in it. What the server cut is in the totals of the callers, and in nobody's self.
 */
export function functionsOf(tree: CallTree): TopFunction[] {
  const { frames } = tree;
  const known = new Map<string, number>();
  const functions: TopFunction[] = [];
  // By frame: its function. A function that is inlined in one place and called in another is one.
  const functionOf = Int32Array.from(frames.name, (name, f) => {
    const key = `${name}\n${frames.module[f]}`;
    let index = known.get(key);
    if (index === undefined) {
      index = functions.push({ name, module: frames.module[f], file: frames.file[f], line: frames.line[f], kind: frames.kind[f], self: 0, total: 0 }) - 1;
      known.set(key, index);
    }
    return index;
  });
  // Where the subtree of the function's last outermost call ends.
  const open = new Int32Array(functions.length);
  for (let i = 1; i < tree.count; i++) {
    const index = functionOf[tree.frame[i]];
    functions[index].self += tree.self[i];
    if (i < open[index]) continue;
    functions[index].total += tree.total[i];
    open[index] = tree.end[i];
  }
  return functions.filter((f) => f.total > 0).sort((a, b) => b.self - a.self || b.total - a.total);
}

/** The value of a subtree that the server cut as too narrow. */
export function cutBelow(tree: CallTree, node: number): number {
  let sum = 0;
  for (let i = node; i < tree.end[node]; i++) sum += tree.cut[i];
  return sum;
}
