import type { FlameEngine } from "../flame/engine";
import { ROW } from "../flame/paint";
import type { Hit } from "../flame/hit";

// A press that moves further is a drag, not a click.
const CLICK_SLACK = 4;

/** What the gestures mean. */
export interface FlameGestures {
  onHover: (hit: Hit | null) => void;
  onClick: (hit: Hit) => void;
  /** The hit is null where a key asked for the menu, or nothing is there. */
  onMenu: (event: MouseEvent, hit: Hit | null) => void;
}

/** Connects mouse, touch and wheel to the engine; returns what disconnects them. */
export function connectInput(canvas: HTMLCanvasElement, engine: FlameEngine, gestures: FlameGestures): () => void {
  const off = new AbortController();
  const { signal } = off;
  let press: { x: number; y: number; dragging: boolean } | null = null;

  const hitOf = (e: PointerEvent) => engine.at(e.offsetX, e.offsetY);
  canvas.addEventListener("pointerdown", (e) => {
    if (e.button === 0) press = { x: e.clientX, y: e.clientY, dragging: false };
  }, { signal });
  canvas.addEventListener("pointermove", (e) => {
    if (!press) {
      const hit = hitOf(e);
      canvas.classList.toggle("clickable", hit !== null);
      return gestures.onHover(hit);
    }
    const dx = e.clientX - press.x;
    const dy = e.clientY - press.y;
    if (!press.dragging && Math.hypot(dx, dy) < CLICK_SLACK) return;
    if (!press.dragging) canvas.setPointerCapture(e.pointerId);
    engine.dragBy(dx, dy);
    canvas.classList.add("dragging");
    press = { x: e.clientX, y: e.clientY, dragging: true };
  }, { signal });
  canvas.addEventListener("pointerup", (e) => {
    const clicked = press !== null && !press.dragging;
    press = null;
    canvas.classList.remove("dragging");
    const hit = clicked ? hitOf(e) : null;
    if (hit) gestures.onClick(hit);
  }, { signal });
  canvas.addEventListener("pointercancel", () => {
    press = null;
    canvas.classList.remove("dragging");
  }, { signal });
  canvas.addEventListener("contextmenu", (e) => {
    // The menu key has no button, and no place that means anything.
    gestures.onMenu(e, e.button === 2 ? engine.at(e.offsetX, e.offsetY) : null);
  }, { signal });
  canvas.addEventListener("pointerleave", () => gestures.onHover(null), { signal });
  canvas.addEventListener("wheel", (e) => onWheel(e, engine), { signal, passive: false });
  return () => off.abort();
}

function onWheel(e: WheelEvent, engine: FlameEngine): void {
  const unit = e.deltaMode === 1 ? ROW : 1;
  if (e.ctrlKey || e.metaKey) {
    e.preventDefault();
    return engine.zoomBy(Math.exp(e.deltaY * unit * 0.004), e.offsetX);
  }
  const sideways = e.shiftKey && e.deltaX === 0 ? e.deltaY : e.deltaX;
  if (sideways !== 0) {
    e.preventDefault();
    engine.dragBy(-sideways * unit, 0);
  }
  const { offset, most } = engine.scrolling;
  if (e.shiftKey || e.deltaY === 0 || most === 0) return;
  const next = engine.wheel(e.deltaY * unit);
  // At the end the page scrolls on.
  if (next !== offset) e.preventDefault();
}
