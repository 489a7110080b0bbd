import type { Direction, View } from "../data/url";
import type { Width } from "../data/diff";
import { formatDiff } from "../data/diffState";
import { formatIn } from "../data/diffText";
import { Crumbs } from "../explore/Breadcrumb";
import { Choice } from "../explore/Choice";
import { CopyLink } from "../explore/CopyLink";
import { Icon } from "../explore/icons";
import { SearchBox } from "../explore/SearchBox";
import { Report } from "./Report";
import { cut, detailState, diff, diffState, go, graph, isCoarse, lacking, pinned, state, switchGenerics, undoable } from "./store";

/** Above the panes: layout, direction, what is as wide as a frame, search. */
export function DiffToolbar() {
  const { view, direction, width } = state.value;
  return (
    <div class="toolbar">
      <Choice label="Layout" value={view} options={[["table", "Table", "key t"], ["split", "Both", "key s"], ["flame", "Graph", "key s"]]} onChange={(v) => go({ view: v as View }, "replace")} />
      <Choice label="Graph" value={view === "table" ? "" : direction} options={[["flame", "Flame", "root below, key f"], ["icicle", "Icicle", "root above, key i"]]} onChange={(d) => go({ direction: d as Direction, view: view === "table" ? "split" : view }, "replace")} />
      <Choice label="Width" value={width} options={[["both", "Wide as both", "the mean of A and B, so that all that either has is seen; key w"], ["a", "as A", "what is gone in B is seen, what is new is not; key w"], ["b", "as B", "what is new in B is seen, what is gone is not; key w"]]} onChange={(w) => go({ width: w as Width }, "replace")} />
      <span class="spacer" />
      <SearchBox graph={graph} />
      <CopyLink pinned={() => formatDiff({ ...state.peek(), ...pinned() })} pin={() => go(pinned(), "replace")} />
      <Report />
    </div>
  );
}

/** The zoom as a line of callers, undo, and what the answer leaves out here. */
export function Zoom() {
  const { path, whole, generics } = state.value;
  const { loading, error } = detailState.value;
  const view = graph.shown.value;
  const coarse = path.length > 0 && isCoarse.value;
  const much = view && diff.value && !lacking.value && !coarse && cut.value > view.tree.total[view.node] * 0.001;
  return (
    <nav class="breadcrumb" aria-label="The zoom" data-testid="breadcrumb">
      <button type="button" class="control icon-only" title="Undo the last change  (Back)" aria-label="Undo" disabled={!undoable.value} onClick={() => history.back()}><Icon name="undo" /></button>
      <Crumbs path={path} zoomTo={graph.zoomTo} />
      {coarse && (loading ? <span class="quiet">loading what is narrower here…</span> : error && <span class="note">narrow functions are missing here: {error.message}</span>)}
      {much && diff.value && (
        <span class="pruned">{formatIn(diff.value, cut.value)} in functions too narrow for the answer
          {!whole && <button type="button" class="link" disabled={diffState.value.loading} onClick={() => go({ whole: true })}>Load them</button>}
        </span>
      )}
      <button type="button" class="fold" aria-pressed={generics === "fold"} data-choice="fold" title="Make one function of those that differ by their type arguments alone: Vec<_>::push, key g" onClick={switchGenerics}>Fold generics</button>
    </nav>
  );
}
