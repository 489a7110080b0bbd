import { useEffect } from "preact/hooks";
import { menuItems } from "./actions";
import { Breadcrumb } from "./Breadcrumb";
import { CallersPane } from "./CallersPane";
import { CallTreePane } from "./CallTreePane";
import { Completeness } from "./Completeness";
import { ContextMenu } from "./ContextMenu";
import { Details } from "./Details";
import { computed } from "@preact/signals";
import { makePalette } from "../flame/palette";
import { FlamePane } from "./FlamePane";
import { FunctionTable } from "./FunctionTable";
import { Header } from "./Header";
import { Help } from "./Help";
import { connectKeys } from "./keyboard";
import { ACTIONS, KEYS } from "./keys";
import { Legend } from "./Legend";
import { openMenu } from "./menuState";
import { Progress } from "./Progress";
import { QueryBar, TypeNote } from "./QueryBar";
import { PaneState } from "./States";
import { graph, stale, state, wholeState } from "./store";
import { dark } from "./theme";
import { TimeSeries } from "./TimeSeries";
import { Toolbar } from "./Toolbar";

// By value, so that a zoom makes no new palette.
const color = computed(() => state.value.color);
const palette = computed(() => makePalette(color.value, dark.value));

/** The Explore page, top to bottom. */
export function Explore() {
  useEffect(() => connectKeys(graph, ACTIONS), []);
  const { view, pane } = state.value;
  return (
    <div class="explore">
      <Header />
      <main class="explore-main">
        <QueryBar />
        <TypeNote />
        <Progress {...wholeState.value} />
        <TimeSeries />
        <Toolbar />
        <Breadcrumb />
        <div class={`panes view-${view} ${stale.value ? "stale" : ""}`}>
          {view !== "flame" && <FunctionTable />}
          {view !== "table" && (pane === "tree" ? <CallTreePane /> : pane === "callers" ? <CallersPane /> : <Flame />)}
          <PaneState />
        </div>
        <ContextMenu items={menuItems} />
      </main>
      <footer class="footer">
        <Details />
        <Completeness />
      </footer>
      <Help keys={KEYS} />
    </div>
  );
}

function Flame() {
  return (
    <FlamePane graph={graph} palette={palette} onMenu={openMenu} text="The call tree, key d, says the same as text.">
      <Legend palette={palette} />
    </FlamePane>
  );
}
