import { shortName } from "../flame/text";
import type { FramePath } from "../data/path";
import { Icon } from "./icons";
import { Chips, Exactness } from "./Chips";
import { detailState, shown, state, switchGenerics, undoable, zoomTo } from "./store";

// More steps are folded in the middle: the line must stay one line.
const SHOWN = 6;

/** The zoom as a line of callers; each step is a button, and undo takes back the last change. */
export function Breadcrumb() {
  const { path, generics } = state.value;
  const { loading, error } = detailState.value;
  const view = shown.value;
  return (
    <nav class="breadcrumb" aria-label="What was done to the graph, and the zoom" data-testid="breadcrumb">
      <button type="button" class="control icon-only" title="Undo the last change  (Back)" aria-label="Undo" disabled={!undoable.value} onClick={() => history.back()}><Icon name="undo" /></button>
      <Chips />
      <Crumbs path={path} zoomTo={zoomTo} />
      {path.length > 0 && view && !view.exact && (loading
        ? <span class="quiet">loading what is narrower here…</span>
        : error ? <span class="note">narrow functions are missing here: {error.message}</span> : null)}
      <Exactness />
      <button type="button" class="fold" aria-pressed={generics === "fold"} data-choice="fold" title="Make one function of those that differ by their type arguments alone: Vec<_>::push, key g" onClick={switchGenerics}>Fold generics</button>
    </nav>
  );
}

/** Each step of a path, as a button that zooms out to it. */
export function Crumbs({ path, zoomTo }: { path: FramePath; zoomTo: (path: FramePath) => void }) {
  const folded = path.length > SHOWN;
  const first = folded ? path.length - SHOWN + 1 : 0;
  return (
    <>
      <button type="button" class="crumb" aria-current={path.length === 0} onClick={() => zoomTo([])}>all</button>
      {folded && <button type="button" class="crumb" title={path.slice(0, first).map((s) => s.name).join("\n")} onClick={() => zoomTo(path.slice(0, first))}>… {first} callers</button>}
      {path.slice(first).map((step, i) => {
        const depth = first + i + 1;
        return <button type="button" key={depth} class="crumb" title={step.name} aria-current={depth === path.length} onClick={() => zoomTo(path.slice(0, depth))}>{shortName(step.name)}</button>;
      })}
    </>
  );
}
