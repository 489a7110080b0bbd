import { useEffect, useRef } from "preact/hooks";
import { computed, effect } from "@preact/signals";
import { pathOf } from "../data/path";
import { FlameEngine } from "../flame/engine";
import type { Hit } from "../flame/hit";
import { makePalette } from "../flame/palette";
import { Legend } from "./Legend";
import { announcement, engine as mounted, hovered, select, selected } from "./focus";
import { connectInput } from "./flameInput";
import { openMenu } from "./menuState";
import { found, shown, state, zoomTo } from "./store";
import { dark, mayAnimate } from "./theme";
import { installTestHandle } from "./testHandle";

/** The flamegraph: two canvases as large as the pane, a scrollbar of its own, and a live description. */
export function FlamePane() {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const overlay = useRef<HTMLCanvasElement>(null);
  const thumb = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!box.current || !canvas.current || !overlay.current || !thumb.current) return;
    return mount(box.current, canvas.current, overlay.current, thumb.current);
  }, []);
  return (
    <div class="flame-pane">
      <Legend palette={palette} />
      <div class="flame-box" ref={box}>
        <canvas
          ref={canvas}
          data-testid="flame-canvas"
          class="flame-canvas"
          tabIndex={0}
          role="application"
          aria-label="Flamegraph. Arrow keys move, Enter zooms, Escape shows everything. The call tree, key d, says the same as text."
          aria-describedby="flame-live"
        />
        <canvas ref={overlay} class="flame-overlay" aria-hidden="true" />
        <div class="scroll-thumb" ref={thumb} hidden />
      </div>
      <div id="flame-live" class="visually-hidden" aria-live="polite">{announcement.value}</div>
    </div>
  );
}

function mount(box: HTMLElement, canvas: HTMLCanvasElement, overlay: HTMLCanvasElement, thumb: HTMLElement): () => void {
  const engine = new FlameEngine(canvas, overlay);
  const size = new ResizeObserver(() => engine.resize(box.clientWidth, box.clientHeight));
  size.observe(box);
  engine.onScroll = () => placeThumb(engine, thumb);
  const disconnect = connectInput(canvas, engine, {
    onHover: (hit) => {
      engine.hover(hit);
      hovered.value = hit && engine.tree ? { tree: engine.tree, hit } : null;
    },
    onClick: (hit) => click(engine, hit),
    onMenu: (event, hit) => askMenu(engine, event, hit),
  });
  const dragThumb = connectThumb(engine, thumb);
  const stop = [effect(() => follow(engine)), effect(() => dress(engine))];
  mounted.value = engine;
  installTestHandle(engine);
  return () => {
    for (const s of stop) s();
    disconnect();
    dragThumb();
    size.disconnect();
    engine.dispose();
    mounted.value = null;
    hovered.value = null;
  };
}

// The zoomed path as last drawn: the same path in a new answer is the same place.
let drawnPath = "";

function follow(engine: FlameEngine): void {
  const view = shown.value;
  if (!view) return;
  const { tree } = view.profile;
  const path = JSON.stringify(pathOf(tree, view.node));
  const sameTree = engine.tree === tree;
  if (!sameTree) {
    hovered.value = null;
    selected.value = -1;
  }
  engine.show(tree, view.node, path === drawnPath, sameTree && mayAnimate());
  drawnPath = path;
}

const direction = computed(() => state.value.direction);
const color = computed(() => state.value.color);
const palette = computed(() => makePalette(color.value, dark.value));

function dress(engine: FlameEngine): void {
  const result = found.value;
  engine.set({
    icicle: direction.value === "icicle",
    palette: palette.value,
    matching: result && "frames" in result ? result.frames : null,
  });
}

function click(engine: FlameEngine, hit: Hit): void {
  const { tree } = engine;
  if (!tree) return;
  selected.value = -1;
  engine.select(-1);
  const path = pathOf(tree, hit.node);
  if (JSON.stringify(path) === drawnPath) engine.recenter(mayAnimate());
  else zoomTo(path);
}

function askMenu(engine: FlameEngine, event: MouseEvent, hit: Hit | null): void {
  const { tree } = engine;
  const node = hit && !hit.dust ? hit.node : event.button === 2 ? -1 : selected.peek();
  if (!tree || node < 0) return event.preventDefault();
  const rect = hit ? null : engine.rectOf(node);
  select(node);
  openMenu(event, tree, node, rect ? { getBoundingClientRect: () => ({ left: rect.x, bottom: rect.y + rect.h }) } : undefined);
}

function placeThumb(engine: FlameEngine, thumb: HTMLElement): void {
  const { offset, most, page } = engine.scrolling;
  thumb.hidden = most <= 0;
  if (most <= 0) return;
  const height = Math.max(24, (page * page) / (page + most));
  const share = offset / most;
  const fromTop = state.peek().direction === "icicle" ? share : 1 - share;
  thumb.style.height = `${height}px`;
  thumb.style.transform = `translateY(${fromTop * (page - height)}px)`;
}

function connectThumb(engine: FlameEngine, thumb: HTMLElement): () => void {
  const off = new AbortController();
  thumb.addEventListener("pointerdown", (e) => {
    thumb.setPointerCapture(e.pointerId);
    e.preventDefault();
  }, { signal: off.signal });
  thumb.addEventListener("pointermove", (e) => {
    if (!thumb.hasPointerCapture(e.pointerId)) return;
    const { most, page } = engine.scrolling;
    engine.wheel((e.movementY * most) / Math.max(1, page - thumb.clientHeight));
  }, { signal: off.signal });
  return () => off.abort();
}
