import { formatState, type ColorMode, type View } from "../data/url";
import { Choice } from "./Choice";
import { Compare } from "./Compare";
import { CopyLink } from "./CopyLink";
import { Exports } from "./Exports";
import { showPane, type PaneChoice } from "./panes";
import { Icon } from "./icons";
import { Menu } from "./Menu";
import { SearchBox } from "./SearchBox";
import { go, graph, state } from "./store";
import { pinnedTimes } from "./window";

/** Above the pane: views, search with what it matched, colours, export. */
export function Toolbar() {
  const { view, direction, pane, color } = state.value;
  return (
    <div class="toolbar">
      <Choice label="Layout" value={view} options={[["table", "Table", "key t"], ["split", "Both", "key s"], ["flame", "Graph", "key s"]]} onChange={(v) => go({ view: v as View }, "replace")} />
      <Choice label="Graph" value={view === "table" ? "" : pane === "graph" ? direction : pane} options={[["flame", "Flame", "root below, key f"], ["icicle", "Icicle", "root above, key i"], ["tree", "Call tree", "key d"], ["callers", "Callers", "callers and callees of one function, key c"]]} onChange={(p) => showPane(p as PaneChoice)} />
      <Choice label="Colour" value={color} options={[["module", "Module", "a colour for each binary and library"], ["kernel", "Kernel / user", "kernel, programs, runtimes, interpreted code"], ["package", "Package", "a colour for each crate, namespace or package"]]} onChange={(c) => go({ color: c as ColorMode }, "replace")} />
      <span class="spacer" />
      <SearchBox graph={graph} />
      <Compare />
      <CopyLink pinned={() => formatState({ ...state.peek(), ...pinned() })} pin={() => go(pinned(), "replace")} />
      <Menu title="Download what is selected" testId="export" class="right" label={<><Icon name="download" />Export</>}>{() => <Exports />}</Menu>
    </div>
  );
}

const pinned = () => ({ ...pinnedTimes(), live: false });
