import { useEffect, useRef } from "preact/hooks";
import { effect } from "@preact/signals";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { TimeseriesAnswer } from "../data/answers";
import { stack } from "../data/stack";
import { withValue } from "../data/selector";
import { formatRate, significant } from "../data/units";
import { seriesColors } from "../flame/palette";
import { go, labels, reselect, series, state } from "./store";
import { dark } from "./theme";
import { showWindow, widenWindow } from "./window";

const HEIGHT = 122;

/** The rate over the window, stacked by a label; dragging selects a window. */
export function TimeSeries() {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => (box.current ? mountChart(box.current) : undefined), []);
  const answer = series.state.value.value;
  const error = series.state.value.error;
  return (
    <section class="timeseries" data-testid="timeseries" aria-label="Over time. Drag to select a window, double-click for a wider one.">
      <div class="chart" ref={box}>
        {error && !answer && <p class="chart-error">{error.message}</p>}
      </div>
      <aside class="legend">
        <label class="legend-by">by <select value={state.value.by} aria-label="Split the time series by" onChange={(e) => go({ by: e.currentTarget.value }, "replace")}>
          {byChoices().map((label) => <option key={label} value={label}>{label}</option>)}
        </select>{answer?.unit === "nanoseconds" && <span class="legend-unit">cores, mean</span>}</label>
        {answer && <Legend answer={answer} />}
      </aside>
    </section>
  );
}

function byChoices(): string[] {
  const known = labels.state.value.value?.labels ?? [];
  const { by } = state.value;
  return known.includes(by) ? known : [by, ...known];
}

function Legend({ answer }: { answer: TimeseriesAnswer }) {
  const seconds = answer.step * answer.points;
  const { by } = state.value;
  const mean = (values: number[]) => formatRate(values.reduce((a, b) => a + b, 0), answer.unit, seconds).replace(/\scores$/, "");
  const colors = seriesColors(answer.series.map((s) => s.label), dark.value);
  const rest = answer.rest.some((v) => v > 0);
  return (
    <ul>
      {answer.series.map((s) => (
        <li key={s.label}>
          <button type="button" title={`Select ${by}="${s.label}" (mean over the window)`} onClick={() => reselect({ query: withValue(state.peek().query, by, s.label) })}>
            <span class="swatch" style={{ background: colors.get(s.label) }} />
            <span class="legend-name">{s.label || `(no ${by})`}</span>
            <span class="number">{mean(s.values)}</span>
          </button>
        </li>
      ))}
      {rest && <li class="legend-rest"><span class="swatch" /><span class="legend-name">further {by}s together</span><span class="number">{mean(answer.rest)}</span></li>}
    </ul>
  );
}

function mountChart(box: HTMLElement): () => void {
  let plot: uPlot | null = null;
  const draw = effect(() => {
    const answer = series.state.value.value;
    const isDark = dark.value;
    plot?.destroy();
    plot = answer && answer.points > 0 ? chart(box, answer, isDark) : null;
  });
  const size = new ResizeObserver(() => plot?.setSize({ width: box.clientWidth, height: HEIGHT }));
  size.observe(box);
  const widen = () => widenWindow();
  box.addEventListener("dblclick", widen);
  return () => {
    draw();
    size.disconnect();
    box.removeEventListener("dblclick", widen);
    plot?.destroy();
  };
}

function chart(box: HTMLElement, answer: TimeseriesAnswer, isDark: boolean): uPlot {
  const { xs, tops, order } = stack(answer);
  const ink = isDark ? "#8f8d88" : "#77746d";
  const line = isDark ? "#26282c" : "#eeece8";
  const axis = { stroke: ink, font: "11px system-ui, sans-serif", grid: { stroke: line, width: 1 }, ticks: { show: false } };
  const colors = seriesColors(answer.series.map((s) => s.label), isDark);
  const color = (i: number) => (i < 0 ? (isDark ? "#3a3c42" : "#d8d5cf") : colors.get(answer.series[i].label) ?? ink);
  const options: uPlot.Options = {
    width: box.clientWidth || 600,
    height: HEIGHT,
    padding: [8, 20, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: 4 }, bind: { dblclick: () => null } },
    scales: { x: { time: true, range: () => [answer.from, answer.from + answer.step * answer.points] }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] } },
    axes: [
      { ...axis, size: 20, gap: 3, values: (_, ticks) => ticks.map((t) => clock(t, answer.step)) },
      { ...axis, size: 52, gap: 6, space: 26, values: (_, ticks) => ticks.map((v) => (answer.unit === "nanoseconds" ? significant(v) : formatRate(v, answer.unit, 1))) },
    ],
    // The tallest is painted first and the others over it: an opaque stack without bands.
    series: [{}, ...order.map((i) => ({ fill: color(i), stroke: color(i), width: 0, points: { show: false }, paths: uPlot.paths.stepped?.({ align: 1 }) }))],
    hooks: {
      setSelect: [(u) => {
        if (u.select.width < 4) return;
        const from = u.posToVal(u.select.left, "x");
        const to = u.posToVal(u.select.left + u.select.width, "x");
        u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        showWindow(Math.floor(from), Math.ceil(to));
      }],
    },
  };
  return new uPlot(options, [xs, ...tops], box);
}

function clock(seconds: number, step: number): string {
  const date = new Date(seconds * 1000);
  const time = date.toLocaleTimeString("en-GB", { hour12: false });
  if (step >= 3600 && date.getHours() === 0) return date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return date.getSeconds() === 0 ? time.slice(0, 5) : time;
}
