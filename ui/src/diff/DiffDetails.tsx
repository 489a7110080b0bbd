import { functionOf, ratio, type Diff, type Pair } from "../data/diff";
import { formatChange, formatIn, formatRatio, unitOf } from "../data/diffText";
import { hovered, selected } from "../explore/focus";
import { Interval, VerdictTag } from "./DiffTable";
import { diff, drawn, graph, lacking, tree } from "./store";

/** The line that is always there: what the mouse is on, else the keyboard, else the zoom. */
export function DiffDetails() {
  const now = diff.value;
  const made = tree.value;
  const view = graph.shown.value;
  if (!now || !made || !view || lacking.value) return <div class="details" data-testid="details" />;
  const mouse = hovered.value?.tree === made.tree ? hovered.value.hit : null;
  const node = mouse ? mouse.node : selected.value >= 0 && selected.value < made.tree.count ? selected.value : view.node;
  const { frames } = made.tree;
  const frame = made.tree.frame[node];
  const f = node > 0 && drawn.value ? functionOf(drawn.value, frame) : null;
  const at = ([a, b]: Pair<Float64Array>): Pair<number> => [a[node], b[node]];
  return (
    <div class="details" data-testid="details">
      <div class="what">
        <strong class="what-name">{mouse?.dust ? `narrower than a pixel, called by ${frames.name[frame] || "all"}` : node === 0 ? "all" : frames.name[frame] || "(no name)"}</strong>
        <span class="what-place">
          {node > 0 && <><span>{frames.module[frame] || "no module"}</span><span>{frames.kind[frame]}</span></>}
          {f && <span class="what-said"><VerdictTag f={f} /> {f.verdict !== "chance" && f.low !== null && <>everywhere it runs: <Interval diff={now} f={f} /> {f.of}</>}{f.verdict === "chance" && f.seen !== null && <>a change of {formatIn(now, f.seen)} would have been told</>}</span>}
        </span>
      </div>
      <Amounts diff={now} label="self" pair={at(made.self)} />
      <Amounts diff={now} label="total" pair={at(made.total)} />
      <span class="quiet details-unit">{unitOf(now)}</span>
    </div>
  );
}

function Amounts({ diff: now, label, pair: [a, b] }: { diff: Diff; label: string; pair: Pair<number> }) {
  return (
    <dl class="amounts diff-amounts">
      <dt>{label} here</dt>
      <dd>{formatIn(now, a)} <span>→</span> {formatIn(now, b)}</dd>
      <dd class="amount-value">{formatChange(now, b - a)}</dd>
      <dd>{a === b ? "" : formatRatio(ratio(a, b))}</dd>
    </dl>
  );
}
