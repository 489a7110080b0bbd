import { useEffect, useRef } from "preact/hooks";
import { effect, type ReadonlySignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import type { CallTree } from "../data/decode";
import { pathOf } from "../data/path";
import { FlameEngine } from "../flame/engine";
import type { Hit } from "../flame/hit";
import type { Palette } from "../flame/palette";
import { announcement, engine as mounted, hovered, select, selected } from "./focus";
import { connectInput } from "./flameInput";
import type { Graph } from "./graph";
import { mayAnimate } from "./theme";
import { installTestHandle } from "./testHandle";

interface FlamePaneProps {
  graph: Graph;
  palette: ReadonlySignal<Palette>;
  /** The fill of a node, where it is not its function's. */
  fill?: ReadonlySignal<((node: number) => string) | null>;
  /** Opens the menu of a node, under the place where the event was, or under an element where a key asked for it. */
  onMenu?: (event: MouseEvent, tree: CallTree, node: number, below?: Below) => void;
  /** What the screen reader is told to look at instead. */
  text: string;
  /** The legend. */
  children?: ComponentChildren;
}

interface Below {
  getBoundingClientRect(): { left: number; bottom: number };
}

/** The flamegraph: two canvases as large as the pane, a scrollbar of its own, and a live description. */
export function FlamePane(props: FlamePaneProps) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const overlay = useRef<HTMLCanvasElement>(null);
  const thumb = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!box.current || !canvas.current || !overlay.current || !thumb.current) return;
    return mount(props, box.current, canvas.current, overlay.current, thumb.current);
  }, []);
  return (
    <div class="flame-pane">
      {props.children}
      <div class="flame-box" ref={box}>
        <canvas
          ref={canvas}
          data-testid="flame-canvas"
          class="flame-canvas"
          tabIndex={0}
          role="application"
          aria-label={`Flamegraph. Arrow keys move, Enter zooms, Escape shows everything. ${props.text}`}
          aria-describedby="flame-live"
        />
        <canvas ref={overlay} class="flame-overlay" aria-hidden="true" />
        <div class="scroll-thumb" ref={thumb} hidden />
      </div>
      <div id="flame-live" class="visually-hidden" aria-live="polite">{announcement.value}</div>
    </div>
  );
}

function mount(props: FlamePaneProps, box: HTMLElement, canvas: HTMLCanvasElement, overlay: HTMLCanvasElement, thumb: HTMLElement): () => void {
  const { graph } = props;
  const engine = new FlameEngine(canvas, overlay);
  const size = new ResizeObserver(() => engine.resize(box.clientWidth, box.clientHeight));
  size.observe(box);
  engine.onScroll = () => placeThumb(engine, thumb, graph.direction.peek() === "icicle");
  const disconnect = connectInput(canvas, engine, {
    onHover: (hit) => {
      engine.hover(hit);
      hovered.value = hit && engine.tree ? { tree: engine.tree, hit } : null;
    },
    onClick: (hit) => click(graph, engine, hit),
    onMenu: (event, hit) => props.onMenu && askMenu(props, engine, event, hit),
  });
  const dragThumb = connectThumb(engine, thumb);
  const stop = [effect(() => follow(graph, engine)), effect(() => dress(props, engine))];
  mounted.value = engine;
  installTestHandle(engine, graph);
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

function follow(graph: Graph, engine: FlameEngine): void {
  const view = graph.shown.value;
  if (!view) return;
  const { tree } = view;
  const path = JSON.stringify(pathOf(tree, view.node));
  const sameTree = engine.tree === tree;
  if (!sameTree) {
    hovered.value = null;
    selected.value = -1;
  }
  engine.show(tree, view.node, path === drawnPath, sameTree && mayAnimate());
  drawnPath = path;
}

function dress({ graph, palette, fill }: FlamePaneProps, engine: FlameEngine): void {
  const result = graph.found.value;
  engine.set({
    icicle: graph.direction.value === "icicle",
    palette: palette.value,
    fill: fill?.value ?? null,
    matching: result && "frames" in result ? result.frames : null,
  });
}

function click(graph: Graph, engine: FlameEngine, hit: Hit): void {
  const { tree } = engine;
  if (!tree) return;
  selected.value = -1;
  engine.select(-1);
  const path = pathOf(tree, hit.node);
  if (JSON.stringify(path) === drawnPath) engine.recenter(mayAnimate());
  else graph.zoomTo(path);
}

function askMenu({ graph, onMenu }: FlamePaneProps, engine: FlameEngine, event: MouseEvent, hit: Hit | null): void {
  const { tree } = engine;
  const node = hit && !hit.dust ? hit.node : event.button === 2 ? -1 : selected.peek();
  if (!tree || node < 0) return event.preventDefault();
  const rect = hit ? null : engine.rectOf(node);
  select(graph, node);
  onMenu?.(event, tree, node, rect ? { getBoundingClientRect: () => ({ left: rect.x, bottom: rect.y + rect.h }) } : undefined);
}

function placeThumb(engine: FlameEngine, thumb: HTMLElement, icicle: boolean): void {
  const { offset, most, page } = engine.scrolling;
  thumb.hidden = most <= 0;
  if (most <= 0) return;
  const height = Math.max(24, (page * page) / (page + most));
  const share = offset / most;
  const fromTop = icicle ? share : 1 - share;
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
