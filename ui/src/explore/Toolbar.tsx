import { useState } from "preact/hooks";
import { apiUrl } from "../data/api";
import { pathParameter } from "../data/path";
import { formatState, type View } from "../data/url";
import { formatShare } from "../data/units";
import { stepHit } from "./focus";
import { Icon } from "./icons";
import { Menu } from "./Menu";
import { answeredParameters, found, go, shown, state } from "./store";
import { pinnedTimes } from "./window";

/** Above the pane: views, search with what it matched, colours, export. */
export function Toolbar() {
  const { view, direction, color } = state.value;
  return (
    <div class="toolbar">
      <Choice label="View" value={view} options={[["table", "Table", "key t"], ["split", "Both", "key s"], ["flame", "Flame", "key f"]]} onChange={(v) => go({ view: v as View }, "replace")} />
      <Choice label="Direction" value={direction} options={[["flame", "Root below", "key i"], ["icicle", "Root above", "key i"]]} onChange={(d) => go({ direction: d as "flame" | "icicle" }, "replace")} />
      <Choice label="Colour" value={color} options={[["module", "Module", "a colour for each binary and library"], ["kernel", "Kernel / user", "kernel blue, native orange, interpreted green"]]} onChange={(c) => go({ color: c as "module" | "kernel" }, "replace")} />
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

function Exports() {
  const parameters = { ...answeredParameters(), path: pathParameter(state.value.path) };
  const formats: [string, string, string, string][] = [
    ["pprof", "pprof", "for go tool pprof", "profile.pb.gz"],
    ["folded", "Folded stacks", "one stack a line", "stacks.folded"],
    ["svg", "SVG", "a picture to send", "flamegraph.svg"],
    ["json", "JSON", "what this page draws", "flamegraph.json"],
  ];
  return (
    <div class="options">
      {formats.map(([format, name, what, file]) => (
        <a key={format} class="option" href={apiUrl("flamegraph", { ...parameters, format })} download={`flamekeeper-${file}`} data-export={format}><span class="option-name">{name}</span><span class="quiet">{what}</span></a>
      ))}
    </div>
  );
}
