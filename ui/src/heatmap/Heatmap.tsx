import { effect, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Chart, LEFT, TOP, paintTimes, type Scene } from "../chart/chart";
import type { HeatmapAnswer } from "../data/answers";
import { apiUrl } from "../data/api";
import { cellAt, ceiling, describe, pixels, wholeWindows, type Rgb } from "../data/heatmap";
import { Resource } from "../data/resource";
import { formatCount } from "../data/units";
import { ChartKind } from "../explore/ChartKind";
import { selectionParameters, series } from "../explore/store";
import { dark } from "../explore/theme";
import { showWindow, widenWindow } from "../explore/window";

const loaded = new Resource<HeatmapAnswer, HeatmapAnswer>((answer) => answer);
const under = signal<{ time: number; samples: number } | null>(null);

const LIGHT: readonly [Rgb, Rgb] = [[252, 226, 205], [176, 42, 4]];
const DARK: readonly [Rgb, Rgb] = [[70, 44, 32], [255, 178, 120]];
const css = ([r, g, b]: Rgb) => `rgb(${r} ${g} ${b})`;

const clockOf = (time: number, digits: number) => `${new Date(time * 1000).toLocaleTimeString("en-GB")}${digits ? `.${Math.round((time % 1) * 10) % 10}` : ""}`;

/** Samples by second, to the right, and tenth of a second, upwards; dragging selects a window. */
export function Heatmap() {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => (box.current ? mount(box.current) : undefined), []);
  const { value, error } = loaded.state.value;
  return (
    <>
      <div class="chart" ref={box} data-testid="heatmap" role="img" aria-label={value ? `Samples by second and tenth of a second. ${describe(value, (t) => clockOf(t, 0))}` : "Samples by second and tenth of a second"}>
        {error ? <p class="chart-error">{error.message}</p> : value?.samples === 0 && <p class="chart-error">No CPU samples with a time in this window: agents of this version and later count them by tenths of a second.</p>}
      </div>
      <Scale />
    </>
  );
}

function Scale() {
  const { value } = loaded.state.value;
  const cell = under.value;
  const [pale, full] = dark.value ? DARK : LIGHT;
  return (
    <aside class="legend heat-scale">
      <ChartKind />
      <p class="number">{cell ? <><strong>{formatCount(cell.samples)}</strong> {cell.samples === 1 ? "sample" : "samples"} at {clockOf(cell.time, 1)}</> : value ? `${formatCount(value.samples)} CPU samples` : "\u00a0"}</p>
      <p class="heat-ramp"><span>1</span><span class="ramp" style={{ background: `linear-gradient(to right, ${css(pale)}, ${css(full)})` }} /><span class="number">{value ? formatCount(ceiling(value.values)) : ""} in 0.1 s</span></p>
      <p class="quiet">Drag to select whole windows of 10 s. An agent that lowered its frequency counts fewer samples.</p>
    </aside>
  );
}

function mount(box: HTMLElement): () => void {
  const chart = new Chart(box, (from, to) => {
    const whole = wholeWindows(from, to);
    showWindow(whole.from, whole.to);
  }, (at) => {
    const map = loaded.state.peek().value;
    under.value = at && map ? cellAt(map, at.time, at.up) : null;
  });
  const stop = [
    effect(() => {
      // Read so that what loads the page again loads this again.
      series.state.value.value;
      const { query, from, to } = selectionParameters();
      void loaded.load(apiUrl("heatmap", { query, from, to }));
    }),
    effect(() => {
      const { value, error } = loaded.state.value;
      chart.show(value && !error && value.samples > 0 ? scene(value, dark.value) : null);
    }),
  ];
  const widen = () => widenWindow();
  box.addEventListener("dblclick", widen);
  return () => {
    for (const s of stop) s();
    chart.dispose();
    under.value = null;
    box.removeEventListener("dblclick", widen);
  };
}

function scene(map: HeatmapAnswer, isDark: boolean): Scene {
  const { from, seconds, rows } = map;
  const ink = isDark ? "#8f8d88" : "#77746d";
  const line = isDark ? "#26282c" : "#eeece8";
  const image = new OffscreenCanvas(Math.max(1, seconds), rows);
  image.getContext("2d")?.putImageData(new ImageData(pixels(map, isDark ? DARK : LIGHT), seconds, rows), 0, 0);
  const to = from + seconds;
  return {
    from,
    to,
    paint(ctx, wide, high) {
      // Seconds narrower than a pixel are averaged, wider ones keep their edges.
      ctx.imageSmoothingEnabled = seconds > wide;
      paintTimes(ctx, { from, to, ink, line }, wide, high);
      ctx.drawImage(image, LEFT, TOP, wide, high);
      ctx.fillStyle = ink;
      ctx.textAlign = "right";
      ctx.textBaseline = "middle";
      for (const [text, share] of [["0", 0], ["0.5", 0.5], ["1 s", 1]] as const) ctx.fillText(text, LEFT - 6, TOP + high * (1 - share));
    },
  };
}
