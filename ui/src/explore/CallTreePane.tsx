import { pathOf } from "../data/path";
import { selected } from "./focus";
import { shown, zoomTo } from "./store";
import { TreeRows } from "./TreeRows";

/** The call tree as text: the zoom, what it calls, and what these call. */
export function CallTreePane() {
  const view = shown.value;
  if (!view) return <div class="rows-pane" />;
  const { tree } = view.profile;
  return (
    <div class="rows-pane" data-testid="call-tree">
      <TreeRows tree={tree} root={view.node} withRoot unit={view.profile.unit} all={tree.total[view.node]} label="Call tree" testId="call-tree-rows" takesFocus menu
        onSelect={(node) => (selected.value = node)} onEnter={(node) => zoomTo(pathOf(tree, node))} />
    </div>
  );
}
