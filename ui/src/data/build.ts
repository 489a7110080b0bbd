import { buildTree, type CallTree, type FrameTable } from "./decode";

/** Puts a call tree together stack by stack: callees of one frame under one caller become one node. */
export class TreeBuilder {
  readonly #parent: number[] = [-1];
  readonly #frame: number[];
  readonly #self: number[] = [0];
  readonly #cut: number[] = [0];
  readonly #known = new Map<number, number>();

  /** A tree of nothing but its root; the root has frame `rootFrame`. */
  constructor(
    private readonly frames: FrameTable,
    rootFrame: number,
  ) {
    this.#frame = [rootFrame];
  }

  /** The callee with this frame under a caller, made where there is none yet; 0 is the root. */
  child(parent: number, frame: number): number {
    const key = parent * this.frames.name.length + frame;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const id = this.#parent.push(parent) - 1;
    this.#frame.push(frame);
    this.#self.push(0);
    this.#cut.push(0);
    this.#known.set(key, id);
    return id;
  }

  /** Adds to a node's own value, and to what was cut below it. */
  add(id: number, self: number, cut: number): void {
    this.#self[id] += self;
    this.#cut[id] += cut;
  }

  frameOf(id: number): number {
    return this.#frame[id];
  }

  /** The tree in preorder, siblings by total descending, and by id the node that each became. */
  build(): { tree: CallTree; at: Int32Array } {
    const { children, first } = this.#sortedChildren();
    const n = this.#parent.length;
    const at = new Int32Array(n);
    const depth = new Int32Array(n);
    const columns = { depth: new Int32Array(n), frame: new Int32Array(n), self: new Float64Array(n), cut: new Float64Array(n) };
    const open = [0];
    for (let node = 0; open.length > 0; node++) {
      const id = open.pop() as number;
      at[id] = node;
      columns.depth[node] = depth[id];
      columns.frame[node] = this.#frame[id];
      columns.self[node] = this.#self[id];
      columns.cut[node] = this.#cut[id];
      for (let c = first[id + 1] - 1; c >= first[id]; c--) {
        depth[children[c]] = depth[id] + 1;
        open.push(children[c]);
      }
    }
    return { tree: buildTree(columns, this.frames), at };
  }

  // Children of id stand in `children` at [first[id], first[id + 1]).
  #sortedChildren(): { children: Int32Array; first: Int32Array } {
    const n = this.#parent.length;
    const total = Float64Array.from(this.#self, (self, i) => self + this.#cut[i]);
    const first = new Int32Array(n + 1);
    // A node is made after its caller: backwards, every total is complete when it is added.
    for (let i = n - 1; i > 0; i--) {
      total[this.#parent[i]] += total[i];
      first[this.#parent[i] + 1]++;
    }
    for (let i = 0; i < n; i++) first[i + 1] += first[i];
    const next = first.slice();
    const children = new Int32Array(Math.max(0, n - 1));
    for (let i = 1; i < n; i++) children[next[this.#parent[i]]++] = i;
    for (let i = 0; i < n; i++) {
      if (first[i + 1] - first[i] > 1) children.subarray(first[i], first[i + 1]).sort((a, b) => total[b] - total[a] || a - b);
    }
    return { children, first };
  }
}
