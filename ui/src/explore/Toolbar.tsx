import { useState } from "preact/hooks";
import { formatState, type ColorMode, type View } from "../data/url";
import { formatShare } from "../data/units";
import { Exports } from "./Exports";
import { stepHit } from "./focus";
import { showPane, type PaneChoice } from "./panes";
import { Icon } from "./icons";
import { Menu } from "./Menu";
import { found, go, shown, state } from "./store";
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
      <SearchBox />
      <CopyLink />
      <Menu title="Download what is selected" testId="export" class="right" label={<><Icon name="download" />Export</>}>{() => <Exports />}</Menu>
    </div>
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  /** The hint is a key, or a few words. */
  options: [value: string, text: string, hint: string][];
  onChange: (value: string) => void;
}

function Choice({ label, value, options, onChange }: ChoiceProps) {
  return (
    <div class="group" role="group" aria-label={label}>
      {options.map(([id, text, hint]) => (
        <button type="button" key={id} class="control" aria-pressed={id === value} title={`${text}: ${hint}`} data-choice={id} onClick={() => onChange(id)}>{text}</button>
      ))}
    </div>
  );
}

function SearchBox() {
  const { search } = state.value;
  const result = found.value;
  const broken = result && "error" in result ? result.error : null;
  return (
    <div class={`search ${broken ? "wrong" : ""}`}>
      <Icon name="search" />
      <input id="search" type="search" class="control" placeholder="Search or /regex/" title="Search by name, or by /regular expression/  /" aria-label="Search functions" data-testid="search" spellcheck={false} autocomplete="off" value={search}
        onInput={(e) => go({ search: e.currentTarget.value }, "replace")}
        onKeyDown={(e) => { if (e.key === "Enter") { e.preventDefault(); stepHit(e.shiftKey); } if (e.key === "Escape") e.currentTarget.blur(); }} />
      <output class="search-result number" data-testid="search-result" title={broken ?? "Share of the view in functions that match; a match inside a match counts once."}>
        {broken ? "not a regex" : <Matched />}
      </output>
    </div>
  );
}

function Matched() {
  const result = found.value;
  const view = shown.value;
  if (!result || "error" in result || !view) return null;
  const total = view.profile.tree.total[view.node] || 1;
  // What the server cut as too narrow may hold matches as well: then the share is a lower bound.
  const more = result.unseen / total > 0.0005;
  return <span title={more ? `At least this; at most ${formatShare((result.value + result.unseen) / total)}, as some functions here are narrower than the answer holds.` : undefined}>{more ? "≥ " : ""}{formatShare(result.value / total)}</span>;
}

function CopyLink() {
  const [done, setDone] = useState("");
  const copy = async () => {
    const pinned = { ...pinnedTimes(), live: false };
    try {
      await navigator.clipboard.writeText(location.origin + location.pathname + formatState({ ...state.peek(), ...pinned }));
      setDone("Copied");
    } catch {
      // Without https the clipboard is closed: the pinned address goes where it can be copied by hand.
      go(pinned, "replace");
      setDone("In the address bar");
    }
    setTimeout(() => setDone(""), 2000);
  };
  return <button type="button" class="control" title="Copy a link with these exact times" onClick={() => void copy()}><Icon name="link" />{done || "Copy link"}</button>;
}
