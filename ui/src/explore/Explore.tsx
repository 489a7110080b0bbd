import { useEffect } from "preact/hooks";
import { Breadcrumb } from "./Breadcrumb";
import { CallersPane } from "./CallersPane";
import { CallTreePane } from "./CallTreePane";
import { Completeness } from "./Completeness";
import { ContextMenu } from "./ContextMenu";
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
  const { view, pane } = state.value;
  return (
    <div class="explore">
      <Header />
      <main class="explore-main">
        <QueryBar />
        <Progress />
        <TimeSeries />
        <Toolbar />
        <Breadcrumb />
        <div class={`panes view-${view} ${stale.value ? "stale" : ""}`}>
          {view !== "flame" && <FunctionTable />}
          {view !== "table" && (pane === "tree" ? <CallTreePane /> : pane === "callers" ? <CallersPane /> : <FlamePane />)}
          <PaneState />
        </div>
        <ContextMenu />
      </main>
      <footer class="footer">
        <Details />
        <Completeness />
      </footer>
      <Help />
    </div>
  );
}
