import { useEffect } from "preact/hooks";
import { Breadcrumb } from "./Breadcrumb";
import { Completeness } from "./Completeness";
import { Details } from "./Details";
import { FlamePane } from "./FlamePane";
import { FunctionTable } from "./FunctionTable";
import { Header } from "./Header";
import { Help } from "./Help";
import { connectKeys } from "./keys";
import { Progress, QueryBar } from "./QueryBar";
import { PaneState } from "./States";
import { stale, state } from "./store";
import { TimeSeries } from "./TimeSeries";
import { Toolbar } from "./Toolbar";

/** The Explore page, top to bottom. */
export function Explore() {
  useEffect(connectKeys, []);
  const { view } = state.value;
  return (
    <div class="explore">
      <Header />
      <QueryBar />
      <Progress />
      <TimeSeries />
      <Toolbar />
      <Breadcrumb />
      <main class={`panes view-${view} ${stale.value ? "stale" : ""}`}>
        {view !== "flame" && <FunctionTable />}
        {view !== "table" && <FlamePane />}
        <PaneState />
      </main>
      <footer class="footer">
        <Details />
        <Completeness />
      </footer>
      <Help />
    </div>
  );
}
