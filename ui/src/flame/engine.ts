import type { CallTree } from "../data/decode";
import { between, cameraOf, carryOver, pan, zoomAround } from "./camera";
import { hitTest, type Hit } from "./hit";
import { layout, newRects, type Camera, type Rects } from "./layout";
import { FONT, paint, ROW } from "./paint";
import type { Palette } from "./palette";
import { TextMeasure } from "./text";

const ANIMATION_MS = 220;
// Width in CSS pixels at which a node that was too narrow is looked at.
const NEAR = 120;

/** A rectangle in CSS pixels of the viewport. */
export interface ClientRect {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

interface Motion {
  readonly began: number;
  readonly camera: Camera;
  readonly scroll: number;
  readonly toCamera: Camera;
  readonly toScroll: number;
}

/**
 * Draws a call tree. Two canvases of the viewport's size, never larger: the picture, and above it the outlines
 * of what is hovered and selected, so that moving the mouse repaints next to nothing. Scrolling is an offset.
 */
export class FlameEngine {
  /** Milliseconds of the last layout and paint. */
  lastDraw = 0;
  /** When a tree was painted for the first time, in milliseconds since the page began; 0 before. */
  firstDraw = 0;
  /** When the tree that is shown was painted for the first time, likewise. */
  treeDraw = 0;
  #drawn: CallTree | null = null;
  onScroll: () => void = () => undefined;

  #tree: CallTree | null = null;
  #camera: Camera = { lo: 0, hi: 1 };
  #scroll = 0;
  #zoom = 0;
  #rows = 1;
  #icicle = false;
  #palette: Palette | null = null;
  #fill: ((node: number) => string) | null = null;
  #matching: Uint8Array | null = null;
  #hover: Hit | null = null;
  #selected = -1;
  #width = 0;
  #height = 0;
  #scheduled = 0;
  #motion: Motion | null = null;
  readonly #rects: Rects = newRects();
  readonly #ctx: CanvasRenderingContext2D;
  readonly #over: CanvasRenderingContext2D;
  readonly #measure: TextMeasure;

  constructor(private readonly canvas: HTMLCanvasElement, private readonly overlay: HTMLCanvasElement) {
    this.#ctx = context(canvas, false);
    this.#over = context(overlay, true);
    this.#ctx.font = FONT;
    this.#ctx.fontKerning = "none";
    this.#measure = new TextMeasure((text) => this.#ctx.measureText(text).width);
  }

  get tree(): CallTree | null {
    return this.#tree;
  }

  get selected(): number {
    return this.#selected;
  }

  /** Scroll offset from the root's edge, its greatest value, and the height of the viewport, in CSS pixels. */
  get scrolling(): { offset: number; most: number; page: number } {
    return { offset: this.#scroll, most: this.#maxScroll(), page: this.#height };
  }

  /** Shows a tree zoomed on a node; what was in view stays where it was when `sameRoot` says it is the same node. */
  show(tree: CallTree, zoom: number, sameRoot: boolean, animate: boolean): void {
    const old = this.#tree;
    if (old === tree) return this.#zoomTo(zoom, animate);
    if (old && sameRoot) {
      this.#motion = null;
      this.#camera = carryOver(this.#camera, cameraOf(old, this.#zoom), cameraOf(tree, zoom));
      this.#tree = tree;
      this.#hover = null;
      this.#selected = -1;
      return this.#zoomTo(zoom, animate);
    }
    this.#tree = tree;
    this.#hover = null;
    this.#selected = -1;
    this.#zoomTo(zoom, false);
  }

  set(options: { icicle?: boolean; palette?: Palette; fill?: ((node: number) => string) | null; matching?: Uint8Array | null }): void {
    if (options.icicle !== undefined) this.#icicle = options.icicle;
    if (options.palette) this.#palette = options.palette;
    if (options.fill !== undefined) this.#fill = options.fill;
    if (options.matching !== undefined) this.#matching = options.matching;
    this.#schedule();
  }

  /** Sizes the canvases for the element; takes the device's pixel ratio into account. */
  resize(width: number, height: number): void {
    this.#width = width;
    this.#height = height;
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.overlay]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.#scroll = Math.min(this.#scroll, this.#maxScroll());
    this.#drawNow();
  }

  hover(hit: Hit | null): void {
    if (hit?.node === this.#hover?.node && hit?.dust === this.#hover?.dust) return;
    this.#hover = hit;
    this.#drawOverlay();
  }

  /** Selects a node and scrolls it into view; -1 for none. */
  select(node: number): void {
    this.#selected = node;
    if (node >= 0 && this.#tree) this.#reveal(node);
    this.#schedule();
  }

  /** What is at a place, in CSS pixels from the canvas's corner. */
  at(x: number, y: number): Hit | null {
    if (!this.#tree) return null;
    const fromRoot = this.#icicle ? y : this.#height - y;
    return hitTest(this.#tree, this.#camera, this.#width, x, Math.floor((fromRoot + this.#scroll) / ROW));
  }

  /** Where a node stands in the viewport of the browser; null when it is out of view or narrower than a pixel. */
  rectOf(node: number): ClientRect | null {
    if (!this.#tree) return null;
    const { x, w } = this.#span(node);
    const y = this.#top(this.#tree.depth[node]);
    const left = Math.max(0, x);
    const right = Math.min(this.#width, x + w);
    if (right - left < 1 || y < 0 || y + ROW > this.#height) return null;
    const box = this.canvas.getBoundingClientRect();
    return { x: box.left + left, y: box.top + y, w: right - left, h: ROW - 1 };
  }

  /** Pixels wide that a node is drawn. */
  widthOf(node: number): number {
    return this.#span(node).w;
  }

  scrollTo(offset: number): void {
    this.#motion = null;
    this.#scroll = Math.min(this.#maxScroll(), Math.max(0, offset));
    this.#schedule();
  }

  /** Scrolls by a wheel's delta, downwards positive; returns the new offset. */
  wheel(dy: number): number {
    this.scrollTo(this.#scroll + (this.#icicle ? dy : -dy));
    return this.#scroll;
  }

  /** Drags the picture by CSS pixels. */
  dragBy(dx: number, dy: number): void {
    if (!this.#tree) return;
    const perPixel = (this.#camera.hi - this.#camera.lo) / this.#width;
    this.#camera = pan(this.#camera, cameraOf(this.#tree, 0), -dx * perPixel);
    this.scrollTo(this.#scroll + (this.#icicle ? -dy : dy));
  }

  /** Zooms by a factor (below 1: closer) around an x in CSS pixels. */
  zoomBy(factor: number, x: number): void {
    if (!this.#tree) return;
    this.#motion = null;
    this.#camera = zoomAround(this.#camera, cameraOf(this.#tree, 0), x / this.#width, factor);
    this.#schedule();
  }

  /** Back to exactly the zoomed node. */
  recenter(animate: boolean): void {
    if (this.#tree) this.#zoomTo(this.#zoom, animate);
  }

  /** Brings a node into view: by the zoom itself where that shows it, else from near enough to read its name. */
  lookAt(node: number, animate: boolean): void {
    const tree = this.#tree;
    if (!tree) return;
    const all = cameraOf(tree, this.#zoom);
    const wide = (tree.total[node] / (all.hi - all.lo)) * this.#width;
    const span = (tree.total[node] * this.#width) / NEAR;
    const middle = tree.start[node] + tree.total[node] / 2;
    this.#move(wide >= 3 ? all : pan({ lo: middle - span / 2, hi: middle + span / 2 }, cameraOf(tree, 0), 0), this.#scrollShowing(node), animate);
  }

  dispose(): void {
    cancelAnimationFrame(this.#scheduled);
  }

  #zoomTo(node: number, animate: boolean): void {
    const tree = this.#tree as CallTree;
    this.#zoom = node;
    this.#rows = deepest(tree, node) + 1;
    this.#move(cameraOf(tree, node), this.#scrollFor(node), animate);
  }

  #move(toCamera: Camera, toScroll: number, animate: boolean): void {
    this.#motion = null;
    if (animate && this.#width > 0) {
      this.#motion = { began: performance.now(), camera: this.#camera, scroll: this.#scroll, toCamera, toScroll };
    } else {
      this.#camera = toCamera;
      this.#scroll = toScroll;
    }
    this.#schedule();
  }

  // The zoomed node with two of its callers in view, where its depth would leave it little room.
  #scrollFor(node: number): number {
    const depth = (this.#tree as CallTree).depth[node];
    const below = Math.min(this.#rows - depth, 12) * ROW;
    return depth * ROW + below <= this.#height ? 0 : Math.min(this.#maxScroll(), Math.max(0, (depth - 2) * ROW));
  }

  #maxScroll(): number {
    return Math.max(0, this.#rows * ROW - this.#height);
  }

  // The nearest scroll that has the node's row in view.
  #scrollShowing(node: number): number {
    const depth = (this.#tree as CallTree).depth[node];
    return Math.max((depth + 1) * ROW - this.#height, Math.min(this.#scroll, depth * ROW), 0);
  }

  #reveal(node: number): void {
    if (this.#motion) return;
    this.#scroll = this.#scrollShowing(node);
    const { x, w } = this.#span(node);
    if (x + w < 2 || x > this.#width - 2) this.dragBy(this.#width / 2 - (x + w / 2), 0);
  }

  #span(node: number): { x: number; w: number } {
    const tree = this.#tree as CallTree;
    const scale = this.#width / (this.#camera.hi - this.#camera.lo);
    return { x: (tree.start[node] - this.#camera.lo) * scale, w: tree.total[node] * scale };
  }

  #top(row: number): number {
    return this.#icicle ? row * ROW - this.#scroll : this.#height - (row + 1) * ROW + this.#scroll;
  }

  #schedule(): void {
    if (this.#scheduled === 0) this.#scheduled = requestAnimationFrame((now) => this.#frame(now));
  }

  #frame(now: number): void {
    this.#scheduled = 0;
    const motion = this.#motion;
    if (motion) {
      const t = Math.min(1, Math.max(0, (now - motion.began) / ANIMATION_MS));
      const eased = 1 - (1 - t) ** 3;
      this.#camera = between(motion.camera, motion.toCamera, eased);
      this.#scroll = motion.scroll + (motion.toScroll - motion.scroll) * eased;
      if (t >= 1) this.#motion = null;
      else this.#schedule();
    }
    this.#drawNow();
  }

  #drawNow(): void {
    const tree = this.#tree;
    const palette = this.#palette;
    if (!tree || !palette || this.#width === 0) return;
    const began = performance.now();
    const view = {
      camera: this.#camera,
      width: this.#width,
      firstRow: Math.floor(this.#scroll / ROW),
      lastRow: Math.floor((this.#scroll + this.#height) / ROW),
    };
    layout(tree, view, this.#rects);
    const ctx = this.#ctx;
    this.#prepare(ctx);
    ctx.fillStyle = palette.background;
    ctx.fillRect(0, 0, this.#width, this.#height);
    const top = (row: number) => this.#top(row);
    paint(ctx, { tree, rects: this.#rects, palette, fill: this.#fill, width: this.#width, top, matching: this.#matching, zoom: this.#zoom }, this.#measure);
    this.lastDraw = performance.now() - began;
    this.firstDraw ||= began + this.lastDraw;
    if (tree !== this.#drawn) this.treeDraw = began + this.lastDraw;
    this.#drawn = tree;
    this.#drawOverlay();
    this.onScroll();
  }

  #drawOverlay(): void {
    const tree = this.#tree;
    const palette = this.#palette;
    if (!tree || !palette) return;
    const ctx = this.#over;
    this.#prepare(ctx);
    ctx.clearRect(0, 0, this.#width, this.#height);
    if (this.#hover && !this.#hover.dust) this.#outline(this.#hover.node, palette.outline, 1);
    if (this.#selected >= 0) this.#outline(this.#selected, palette.selection, 2);
  }

  #outline(node: number, color: string, width: number): void {
    const { x, w } = this.#span(node);
    const left = Math.max(0, x);
    const right = Math.min(this.#width, x + w);
    if (right <= left) return;
    this.#over.strokeStyle = color;
    this.#over.lineWidth = width;
    const y = this.#top((this.#tree as CallTree).depth[node]);
    this.#over.strokeRect(left + width / 2, y + width / 2, Math.max(1, right - left - width), ROW - 1 - width);
  }

  #prepare(ctx: CanvasRenderingContext2D): void {
    const ratio = window.devicePixelRatio || 1;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.font = FONT;
    ctx.fontKerning = "none";
  }
}

function context(canvas: HTMLCanvasElement, alpha: boolean): CanvasRenderingContext2D {
  const ctx = canvas.getContext("2d", { alpha });
  if (!ctx) throw new Error("This browser gives no 2D canvas: the table shows the same functions.");
  return ctx;
}

function deepest(tree: CallTree, node: number): number {
  let most = tree.depth[node];
  for (let i = node; i < tree.end[node]; i++) if (tree.depth[i] > most) most = tree.depth[i];
  return most;
}
