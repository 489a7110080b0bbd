import { useEffect } from "preact/hooks";
import { ContextMenu } from "../explore/ContextMenu";
import { FlamePane } from "../explore/FlamePane";
import { Header } from "../explore/Header";
import { Help } from "../explore/Help";
import { connectKeys } from "../explore/keyboard";
import { openMenu } from "../explore/menuState";
import { Progress } from "../explore/Progress";
import { DiffDetails } from "./DiffDetails";
import { DiffLegend } from "./DiffLegend";
import { DiffPaneState } from "./DiffStates";
import { DiffTable } from "./DiffTable";
import { DiffToolbar, Zoom } from "./DiffToolbar";
import { ACTIONS, KEYS } from "./keys";
import { menuItems } from "./menu";
import { Presets } from "./Presets";
import { Said } from "./Said";
import { Sides } from "./Sides";
import { compareState, diffState, fill, graph, palette, stale, state } from "./store";

/** The page of diffs, top to bottom. */
export function DiffPage() {
  useEffect(() => connectKeys(graph, ACTIONS), []);
  const { view } = state.value;
  const loading = diffState.value.loading || compareState.value.loading;
  return (
    <div class="explore diff">
      <Header />
      <main class="explore-main">
        <h1 class="visually-hidden">Compare profiles</h1>
        <Presets />
        <Progress loading={loading} bytes={diffState.value.bytes} />
        <Sides />
        <Said />
        <DiffToolbar />
        <Zoom />
        <div class={`panes view-${view} ${stale.value ? "stale" : ""}`}>
          {view !== "flame" && <DiffTable />}
          {view !== "table" && (
            <FlamePane graph={graph} palette={palette} fill={fill} onMenu={openMenu} text="The table says what changed as text.">
              <DiffLegend />
            </FlamePane>
          )}
          <DiffPaneState />
        </div>
        <ContextMenu items={menuItems} />
      </main>
      <footer class="footer"><DiffDetails /></footer>
      <Help keys={KEYS} />
    </div>
  );
}
