import type { Step, TransformKind } from "../data/transform";
import { formatShare, formatValue } from "../data/units";
import { lastSegment } from "../flame/names";
import { shortName } from "../flame/text";
import { Icon } from "./icons";
import { allTotal, cutInView, fineState, go, loadAll, shown, state, transformed, untransform } from "./store";

const WORDS: Record<TransformKind, string> = { focus: "focus", hide: "hide", merge: "merge", recursion: "no recursion", module: "collapse" };

/** What was done to the graph, in order: each can be taken back. */
export function Chips() {
  const { transforms } = state.value;
  const steps = transformed.value?.steps ?? [];
  const all = allTotal.value || 1;
  return (
    <>
      {transforms.map(({ kind, subject }, i) => (
        <span key={`${i}${kind}${subject}`} class={`chip ${steps[i]?.touched === 0 ? "idle" : ""}`} data-testid="chip" data-kind={kind} title={`${WORDS[kind]}: ${subject}`}>
          <span class="quiet">{WORDS[kind]}</span>
          <span class="chip-name">{kind === "module" ? lastSegment(subject) : shortName(subject)}</span>
          {steps[i] && <Effect step={steps[i]} all={all} />}
          <button type="button" aria-label={`Take back: ${WORDS[kind]} ${subject}`} title="Take this back" onClick={() => untransform(i)}><Icon name="close" /></button>
        </span>
      ))}
    </>
  );
}

function Effect({ step, all }: { step: Step; all: number }) {
  if (step.touched === 0) return <span class="quiet">not in this graph</span>;
  return step.removed > 0 ? <span class="quiet number" title="Share of all that is no longer in the graph">−{formatShare(step.removed / all)}</span> : null;
}

// Below a thousandth of the view nobody can see what is missing.
const WORTH_SAYING = 0.001;

/** Says where exactness ends in a graph that the page worked out itself, and offers what ends that. */
export function Exactness() {
  const { whole, transforms, pane } = state.value;
  const view = shown.value;
  if (!view) return null;
  const { loading, error } = fineState.value;
  if (loading) return <span class="pruned">loading narrow functions…</span>;
  if (whole && cutInView.value === 0) {
    return <span class="chip complete" title="Every function is loaded, however narrow: all that is worked out here is exact.">every function<button type="button" aria-label="Leave narrow functions out again" onClick={() => go({ whole: false }, "replace")}><Icon name="close" /></button></span>;
  }
  if (transforms.length === 0 && pane !== "callers") return null;
  const { tree } = view.profile;
  const cut = cutInView.value;
  const unseen = Math.max(0, ...(transformed.value?.steps ?? []).map((step) => step.unseen));
  const most = Math.max(cut, unseen);
  if (most <= tree.total[view.node] * WORTH_SAYING) return <span class="quiet" title="Nothing that could be seen was left out of the answer this was worked out from.">exact</span>;
  const missed = unseen > 0 ? `${formatValue(unseen, view.profile.unit)} may hold further calls of what is focused on or hidden` : "their time is in their callers' totals";
  return (
    <span class="pruned">
      <span title={`Worked out from an answer without the narrowest functions: ${missed}.`}>{formatValue(most, view.profile.unit)} in functions too narrow for the answer</span>
      {error ? <span class="note" title={error.message}>could not load them</span> : !whole && <button type="button" class="link" data-testid="load-all" onClick={loadAll}>Load them</button>}
    </span>
  );
}
