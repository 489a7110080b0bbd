import { computed } from "@preact/signals";
import { relationsOf, type Relations } from "../data/callers";
import { formatShare, formatValue } from "../data/units";
import { shown, state } from "./store";
import { showCallers } from "./actions";
import { TreeRows } from "./TreeRows";

const fn = computed(() => state.value.fn);
const tree = computed(() => shown.value?.profile.tree ?? null);
const relations = computed(() => (tree.value && fn.value ? relationsOf(tree.value, fn.value) : null));

/** Callers and callees of one function, over all the places where it stands. */
export function CallersPane() {
  const found = relations.value;
  const profile = shown.value?.profile;
  return (
    <div class="rows-pane callers-pane" data-testid="callers">
      {!found || !profile ? <Choose /> : found.total === 0 ? <Absent unseen={found.unseen} unit={profile.unit} /> : (
        <>
          <Heading found={found} unit={profile.unit} all={profile.tree.total[0]} />
          <TreeRows tree={found.callers} root={0} withRoot={false} unit={profile.unit} all={found.total} label="Called by" testId="callers-rows" totalLabel="Through it" showSelf={false} menu onEnter={(node) => enter(found.callers, node)} />
          <TreeRows tree={found.callees} root={0} withRoot={false} unit={profile.unit} all={found.total} label="Calls" testId="callees-rows" menu onEnter={(node) => enter(found.callees, node)} />
        </>
      )}
    </div>
  );
}

function enter(of: Relations["callers"], node: number): void {
  const name = of.frames.name[of.frame[node]];
  if (node > 0 && name !== fn.peek()) showCallers(name);
}

function Heading({ found, unit, all }: { found: Relations; unit: string; all: number }) {
  return (
    <div class="callers-head">
      <strong class="what-name" title={fn.value}>{fn.value}</strong>
      <span class="number">{formatValue(found.self, unit)} <span class="quiet">self</span></span>
      <span class="number">{formatValue(found.total, unit)} <span class="quiet">total · {formatShare(found.total / all)} of all</span></span>
      <Exactness found={found} unit={unit} />
    </div>
  );
}

// A difference that cannot be read off the figures is not worth a word.
const WORTH_SAYING = 0.0005;

function Exactness({ found, unit }: { found: Relations; unit: string }) {
  if (found.unseen + found.cut <= found.total * WORTH_SAYING) return <span class="quiet" title="Every call of it is in this graph.">exact</span>;
  const outside = `${formatValue(found.unseen, unit)} elsewhere in the graph is in functions too narrow for the answer, and may hold further calls of it`;
  const inside = `${formatValue(found.cut, unit)} of its callees is too narrow to be told apart`;
  const text = [found.unseen > found.total * WORTH_SAYING ? outside : "", found.cut > found.total * WORTH_SAYING ? inside : ""].filter((s) => s !== "").join("; ");
  return <span class="note" title={`${text}. The table is exact.`}>{found.unseen > found.total * WORTH_SAYING ? "at least: " : ""}parts are pruned</span>;
}

function Choose() {
  return (
    <div class="pane-empty">
      <h2>Callers and callees of which function?</h2>
      <p>Click a function in the table, or right-click one in the flamegraph or the call tree. The key <kbd>c</kbd> takes the one that is selected.</p>
    </div>
  );
}

function Absent({ unseen, unit }: { unseen: number; unit: string }) {
  return (
    <div class="pane-empty">
      <h2>Not in this graph</h2>
      <p><code>{fn.value}</code> stands in no stack here{unseen > 0 ? `, unless in the ${formatValue(unseen, unit)} of functions too narrow for the answer: zoom in where it is expected, or look it up in the table, which is exact` : ""}.</p>
    </div>
  );
}
