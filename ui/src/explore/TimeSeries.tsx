import { useEffect, useRef } from "preact/hooks";
import { effect, signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { Chart, stacked, type Scene } from "../chart/chart";
import { byteTicks, valueTicks } from "../chart/ticks";
import type { TimeseriesAnswer } from "../data/answers";
import { stack } from "../data/stack";
import { selectedValue, withValue } from "../data/selector";
import { formatRate, formatValue, isLevel, significant } from "../data/units";
import { seriesColors } from "../flame/palette";
import { ChartKind } from "./ChartKind";
import { DeployMarkers } from "./DeployMarkers";
import { deploys, go, labels, reselect, series, state } from "./store";
import { dark } from "./theme";
import { showWindow, widenWindow } from "./window";

// Fetched by who looks at it only.
const Heatmap = signal<ComponentType | null>(null);

/** What happened over the window: the rate, or samples within each second. */
export function TimeSeries() {
  const { chart } = state.value;
  const subsecond = chart === "subsecond";
  useEffect(() => {
    if (subsecond && !Heatmap.peek()) void import("../heatmap/Heatmap").then((module) => (Heatmap.value = module.Heatmap));
  }, [subsecond]);
  const Shown = Heatmap.value;
  return (
    <section class="timeseries" data-testid="timeseries" aria-label="Over time. Drag to select a window, double-click for a wider one.">
      {!subsecond ? <Rate /> : Shown ? <Shown /> : <div class="chart" />}
    </section>
  );
}

/** The rate over the window, stacked by a label; dragging selects a window. */
function Rate() {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => (box.current ? mountChart(box.current) : undefined), []);
  const answer = series.state.value.value;
  const error = series.state.value.error;
  return (
    <>
      <div class="chart" ref={box}>
        {answer && deploys.value && <DeployMarkers deploys={deploys.value} from={answer.from} to={answer.from + answer.step * answer.points} named={selectedValue(state.value.query, "service") === null} />}
        {error && !answer && <p class="chart-error">{error.message}</p>}
      </div>
      <aside class="legend">
        <ChartKind>{answer && <span class="legend-unit" title="The mean over the window">{answer.unit === "nanoseconds" ? "cores, mean" : "mean"}</span>}</ChartKind>
        <label class="legend-by">by <select value={state.value.by} aria-label="Split the time series by" onChange={(e) => go({ by: e.currentTarget.value }, "replace")}>
          {byChoices().map((label) => <option key={label} value={label}>{label}</option>)}
        </select></label>
        {answer && <Legend answer={answer} />}
      </aside>
    </>
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
  const mean = (values: number[]) => {
    const sum = values.reduce((a, b) => a + b, 0);
    return isLevel(state.value.type) ? formatValue(sum / answer.points, answer.unit) : formatRate(sum, answer.unit, seconds).replace(/\scores$/, "");
  };
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
  const chart = new Chart(box, (from, to) => showWindow(Math.floor(from), Math.ceil(to)));
  const draw = effect(() => {
    const answer = series.state.value.value;
    chart.show(answer && answer.points > 0 ? scene(answer, dark.value) : null);
  });
  const widen = () => widenWindow();
  box.addEventListener("dblclick", widen);
  return () => {
    draw();
    chart.dispose();
    box.removeEventListener("dblclick", widen);
  };
}

function scene(answer: TimeseriesAnswer, isDark: boolean): Scene {
  const ink = isDark ? "#8f8d88" : "#77746d";
  const level = isLevel(state.peek().type);
  const colors = seriesColors(answer.series.map((s) => s.label), isDark);
  return stacked({
    stack: stack(answer, level),
    from: answer.from,
    to: answer.from + answer.step * answer.points,
    color: (i) => (i < 0 ? (isDark ? "#3a3c42" : "#d8d5cf") : colors.get(answer.series[i].label) ?? ink),
    ticks: answer.unit === "bytes" ? byteTicks : valueTicks,
    label: (v) => (level ? formatValue(v, answer.unit) : answer.unit === "nanoseconds" ? significant(v) : formatRate(v, answer.unit, 1)),
    ink,
    line: isDark ? "#26282c" : "#eeece8",
  });
}
