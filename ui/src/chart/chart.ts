import type { Stack } from "../data/stack";
import { clock, timeTicks } from "./ticks";

/** What a chart shows: a span of time, and how it is painted. */
export interface Scene {
  /** Unix seconds of the whole axis. */
  readonly from: number;
  readonly to: number;
  /** Paints the plot, `wide` and `high` CSS pixels large, at `LEFT` and `TOP`. */
  paint(ctx: CanvasRenderingContext2D, wide: number, high: number): void;
}

/** Everything a stacked series depends on. */
export interface StackScene {
  readonly stack: Stack;
  readonly from: number;
  readonly to: number;
  /** The fill of a series by its index; -1 is the rest. */
  readonly color: (series: number) => string;
  /** Where lines stand: values from 0, at most so many steps. */
  readonly ticks: (max: number, most: number) => number[];
  readonly label: (value: number) => string;
  readonly ink: string;
  readonly line: string;
}

/** CSS pixels on both sides of the plot. */
export const LEFT = 60;
export const RIGHT = 20;
export const TOP = 8;
const BOTTOM = 20;
export const FONT = "11px system-ui, sans-serif";
// A shorter drag is a click.
const SLACK = 4;

/** A chart over time on one canvas; dragging over it selects a window. */
export class Chart {
  readonly #canvas = document.createElement("canvas");
  readonly #cursor = Object.assign(document.createElement("div"), { className: "chart-cursor", hidden: true });
  readonly #selection = Object.assign(document.createElement("div"), { className: "chart-selection", hidden: true });
  readonly #off = new AbortController();
  #scene: Scene | null = null;
  #press = -1;

  /** `onHover` gets the place under the mouse: a time, and how far up the plot, from 0 to 1; null where it has left. */
  constructor(private readonly box: HTMLElement, private readonly onSelect: (from: number, to: number) => void, private readonly onHover?: (at: { time: number; up: number } | null) => void) {
    box.append(this.#canvas, this.#selection, this.#cursor);
    const { signal } = this.#off;
    box.addEventListener("pointerdown", (e) => this.#down(e), { signal });
    box.addEventListener("pointermove", (e) => this.#move(e), { signal });
    box.addEventListener("pointerup", (e) => this.#up(e), { signal });
    box.addEventListener("pointercancel", () => this.#release(), { signal });
    box.addEventListener("pointerleave", () => this.#leave(), { signal });
    const size = new ResizeObserver(() => this.#draw());
    size.observe(box);
    signal.addEventListener("abort", () => size.disconnect());
  }

  /** Shows a scene; nothing for null. */
  show(scene: Scene | null): void {
    this.#scene = scene;
    this.#draw();
  }

  dispose(): void {
    this.#off.abort();
    for (const element of [this.#canvas, this.#cursor, this.#selection]) element.remove();
  }

  // The plot's width in CSS pixels.
  get #wide(): number {
    return Math.max(1, this.box.clientWidth - LEFT - RIGHT);
  }

  #inside(e: PointerEvent): number {
    const x = e.clientX - this.box.getBoundingClientRect().left - LEFT;
    return Math.min(this.#wide, Math.max(0, x));
  }

  #down(e: PointerEvent): void {
    if (e.button !== 0 || !this.#scene) return;
    this.#press = this.#inside(e);
    this.box.setPointerCapture(e.pointerId);
  }

  #move(e: PointerEvent): void {
    const x = this.#inside(e);
    this.#cursor.hidden = this.#scene === null;
    this.#cursor.style.left = `${LEFT + x}px`;
    const wide = Math.abs(x - this.#press);
    this.#selection.hidden = this.#press < 0 || wide < SLACK;
    this.#selection.style.left = `${LEFT + Math.min(x, this.#press)}px`;
    this.#selection.style.width = `${wide}px`;
    const { top, height } = this.box.getBoundingClientRect();
    const up = 1 - (e.clientY - top - TOP) / (height - TOP - BOTTOM);
    if (this.#scene) this.onHover?.(up >= 0 && up < 1 ? { time: this.#at(this.#scene, x), up } : null);
  }

  #leave(): void {
    this.#cursor.hidden = true;
    this.onHover?.(null);
  }

  #at({ from, to }: Scene, x: number): number {
    return from + (x / this.#wide) * (to - from);
  }

  #up(e: PointerEvent): void {
    const [a, b] = [this.#press, this.#inside(e)].sort((p, q) => p - q);
    const pressed = this.#press >= 0;
    this.#release();
    const scene = this.#scene;
    if (!pressed || !scene || b - a < SLACK) return;
    this.onSelect(this.#at(scene, a), this.#at(scene, b));
  }

  #release(): void {
    this.#press = -1;
    this.#selection.hidden = true;
  }

  #draw(): void {
    const { clientWidth: width, clientHeight: height } = this.box;
    const ratio = window.devicePixelRatio || 1;
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    const ctx = this.#canvas.getContext("2d");
    if (!ctx || !this.#scene) return;
    ctx.scale(ratio, ratio);
    ctx.font = FONT;
    this.#scene.paint(ctx, this.#wide, height - TOP - BOTTOM);
  }
}

/** A stacked series as a scene. */
export function stacked(scene: StackScene): Scene {
  return { from: scene.from, to: scene.to, paint: (ctx, wide, high) => paint(ctx, scene, wide, high) };
}

function paint(ctx: CanvasRenderingContext2D, scene: StackScene, wide: number, high: number): void {
  const { stack, from, to } = scene;
  const max = (stack.tops[0]?.reduce((a, b) => Math.max(a, b), 0) || 1) * 1.08;
  const x = (t: number) => LEFT + ((t - from) / (to - from)) * wide;
  const y = (v: number) => TOP + high * (1 - v / max);
  paintValues(ctx, scene, wide, high, max, y);
  paintTimes(ctx, scene, wide, high);
  // The tallest first and the others over it: an opaque stack without bands.
  stack.tops.forEach((tops, i) => {
    ctx.fillStyle = scene.color(stack.order[i]);
    ctx.beginPath();
    ctx.moveTo(x(stack.xs[0]), y(0));
    for (let k = 0; k + 1 < stack.xs.length; k++) {
      ctx.lineTo(x(stack.xs[k]), y(tops[k]));
      ctx.lineTo(x(stack.xs[k + 1]), y(tops[k]));
    }
    ctx.lineTo(x(stack.xs[stack.xs.length - 1]), y(0));
    ctx.fill();
  });
}

function paintValues(ctx: CanvasRenderingContext2D, { ticks, label, ink, line }: StackScene, wide: number, high: number, max: number, y: (v: number) => number): void {
  ctx.fillStyle = ink;
  ctx.strokeStyle = line;
  ctx.lineWidth = 1;
  ctx.beginPath();
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  for (const v of ticks(max, Math.floor(high / 26))) {
    const at = Math.round(y(v)) + 0.5;
    ctx.moveTo(LEFT, at);
    ctx.lineTo(LEFT + wide, at);
    ctx.fillText(label(v), LEFT - 6, at);
  }
  ctx.stroke();
}

/** The axis of times below a plot. */
export function paintTimes(ctx: CanvasRenderingContext2D, { from, to, ink, line }: Pick<StackScene, "from" | "to" | "ink" | "line">, wide: number, high: number): void {
  ctx.fillStyle = ink;
  ctx.strokeStyle = line;
  ctx.lineWidth = 1;
  ctx.beginPath();
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  for (const t of timeTicks(from, to, Math.floor(wide / 64))) {
    const at = Math.round(LEFT + ((t - from) / (to - from)) * wide) + 0.5;
    ctx.moveTo(at, TOP);
    ctx.lineTo(at, TOP + high);
    ctx.fillText(clock(t, to - from), at, TOP + high + 5);
  }
  ctx.stroke();
}
