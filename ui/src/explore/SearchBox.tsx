import { formatShare } from "../data/units";
import { stepHit } from "./focus";
import type { Graph } from "./graph";
import { Icon } from "./icons";

/** Where a search is typed, and the share of the view that it matches. */
export function SearchBox({ graph }: { graph: Graph }) {
  const search = graph.search.value;
  const result = graph.found.value;
  const broken = result && "error" in result ? result.error : null;
  return (
    <div class={`search ${broken ? "wrong" : ""}`}>
      <Icon name="search" />
      <input id="search" type="search" class="control" placeholder="Search or /regex/" title="Search by name, or by /regular expression/  /" aria-label="Search functions" data-testid="search" spellcheck={false} autocomplete="off" value={search}
        onInput={(e) => graph.searchFor(e.currentTarget.value)}
        onKeyDown={(e) => { if (e.key === "Enter") { e.preventDefault(); stepHit(graph, e.shiftKey); } if (e.key === "Escape") e.currentTarget.blur(); }} />
      <output class="search-result number" data-testid="search-result" title={broken ?? "Share of the view in functions that match; a match inside a match counts once."}>
        {broken ? "not a regex" : <Matched graph={graph} />}
      </output>
    </div>
  );
}

function Matched({ graph }: { graph: Graph }) {
  const result = graph.found.value;
  const view = graph.shown.value;
  if (!result || "error" in result || !view) return null;
  const total = view.tree.total[view.node] || 1;
  // What the server cut as too narrow may hold matches as well: then the share is a lower bound.
  const more = result.unseen / total > 0.0005;
  return <span title={more ? `At least this; at most ${formatShare((result.value + result.unseen) / total)}, as some functions here are narrower than the answer holds.` : undefined}>{more ? "≥ " : ""}{formatShare(result.value / total)}</span>;
}
