import type { ComponentChildren } from "preact";
import type { ChartKind as Kind } from "../data/url";
import { Choice } from "./Choice";
import { go, state } from "./store";

/** What stands over the graph, as a switch, and beside it what it is in. */
export function ChartKind({ children }: { children?: ComponentChildren }) {
  return (
    <div class="chart-kind">
      <Choice label="Over time" value={state.value.chart} options={[["rate", "Rate", "over the window, by a label"], ["subsecond", "Subsecond", "samples within each second, as a heat map, key h"]]} onChange={(kind) => go({ chart: kind as Kind }, "replace")} />
      {children}
    </div>
  );
}
