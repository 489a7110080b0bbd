import { computed, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { TopFunction } from "../data/answers";
import { tableRows, visibleRows } from "../data/rows";
import type { SortKey } from "../data/url";
import { formatCount, formatValue } from "../data/units";
import { lastSegment } from "../flame/names";
import { parseSearch } from "../flame/search";
import { Amount } from "./Amount";
import { scrollToRow } from "./scroll";
import { openFunctionMenu } from "./menuState";
import { functions, go, state, top, transformed } from "./store";

const ROW = 24;
const HEAD = 26;

const filter = computed(() => state.value.filter);
const sort = computed(() => state.value.sort);
const answer = computed(() => functions.value);
const rows = computed(() => tableRows(answer.value?.functions ?? [], filter.value, sort.value));
const viewport = signal({ scroll: 0, height: 600 });

/** Every function exactly, from every stack; only the rows in view are in the page. */
export function FunctionTable() {
  const body = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = body.current;
    if (!element) return;
    const measure = () => (viewport.value = { scroll: element.scrollTop, height: element.clientHeight });
    const size = new ResizeObserver(measure);
    size.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => size.disconnect();
  }, []);
  const { loading, error } = top.state.value;
  return (
    <section class="table-pane" data-testid="table" aria-label="Functions">
      <div class="table-tools">
        <input type="search" class="control" placeholder="Filter functions" aria-label="Filter functions" data-testid="table-filter" value={filter.value}
          onInput={(e) => go({ filter: e.currentTarget.value }, "replace")} />
        {transformed.value && <span class="quiet" title="Counted in the graph beside, with all that was done to it; functions too narrow for the answer are in nobody's self.">of this graph</span>}
        <span class="quiet number">{answer.value ? `${formatCount(rows.value.length)} of ${formatCount(answer.value.functions.length)}` : loading ? "loading…" : ""}</span>
      </div>
      <div class="table-body" ref={body} tabIndex={0} role="grid" aria-label="Functions" aria-rowcount={rows.value.length + 1} aria-activedescendant={inPage(current.value) ? rowId(current.value) : undefined}
        onKeyDown={(e) => onKey(e, body.current)} onContextMenu={(e) => { if (rows.value[current.value]) openFunctionMenu(e, rows.value[current.value], document.getElementById(rowId(current.value)) ?? undefined); }}>
        <div class="table-head" role="row">
          <Head id="name" label="Function" />
          <Head id="self" label="Self" />
          <Head id="total" label="Total" />
        </div>
        {error && !answer.value ? <p class="table-note">{error.message}</p> : <Rows />}
      </div>
    </section>
  );
}

// The row that the keyboard is on.
const current = signal(0);
const rowId = (row: number) => `function-${row}`;
const range = computed(() => visibleRows(rows.value.length, viewport.value.scroll, viewport.value.height, ROW));
const inPage = (row: number) => row >= range.value.first && row < range.value.last;

function onKey(e: KeyboardEvent, body: HTMLElement | null): void {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target !== body) return;
  const last = Math.max(0, rows.peek().length - 1);
  const at = Math.min(current.peek(), last);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 15, PageUp: at - 15, Home: 0, End: last }[e.key];
  if (to !== undefined) {
    current.value = Math.min(last, Math.max(0, to));
    if (body) scrollToRow(body, current.value, ROW, HEAD);
  } else if ((e.key === "Enter" || e.key === " ") && rows.peek()[at]) pick(rows.peek()[at]);
  else return;
  e.preventDefault();
}

// A click searches the function, a second one ends the search; beside callers and callees it shows those.
function pick(f: TopFunction): void {
  const { pane, view, search } = state.peek();
  if (pane === "callers" && view === "split") go({ fn: f.name });
  else go({ search: search === f.name ? "" : f.name }, "replace");
}

function Head({ id, label }: { id: SortKey; label: string }) {
  const on = sort.value === id;
  return (
    <span role="columnheader" aria-sort={on ? (id === "name" ? "ascending" : "descending") : "none"} class={`cell-${id}`}>
      <button type="button" class={on ? "on" : ""} onClick={() => go({ sort: id }, "replace")} title={`Sort by ${label.toLowerCase()}`}>{label}{on && <span aria-hidden="true">{id === "name" ? " ↑" : " ↓"}</span>}</button>
    </span>
  );
}

function Rows() {
  const { first, last } = range.value;
  const searched = state.value.search;
  const matcher = parseSearch(searched);
  const matches = typeof matcher === "function" ? matcher : () => false;
  if (answer.value && rows.value.length === 0) return <p class="table-note quiet">{filter.value ? "No function has this in its name, module or file." : "No functions in this window."}</p>;
  return (
    <div class="table-space" style={{ height: `${rows.value.length * ROW}px` }}>
      <div style={{ transform: `translateY(${first * ROW}px)` }}>
        {rows.value.slice(first, last).map((f, i) => <Row key={first + i} f={f} index={first + i} marked={matches(f.name)} />)}
      </div>
    </div>
  );
}

function Row({ f, index, marked }: { f: TopFunction; index: number; marked: boolean }) {
  const all = answer.value?.total || 1;
  const unit = answer.value?.unit ?? "";
  return (
    <div id={rowId(index)} class={`row ${marked ? "marked" : ""} ${index === current.value ? "current" : ""}`} role="row" aria-rowindex={index + 2} onClick={() => { current.value = index; pick(f); }} onContextMenu={(e) => { e.stopPropagation(); current.value = index; openFunctionMenu(e, f); }} title={`${f.name}\n${f.module}${f.file ? `\n${f.file}:${f.line}` : ""}${f.total_error === undefined ? "" : `\nTotal ${formatValue(f.total, unit)} ± ${formatValue(2 * f.total_error, unit)} (95 %): it is sampled`}`}>
      <span class="cell-name" role="gridcell"><span class="name">{f.name}</span><span class="module">{lastSegment(f.module)}</span></span>
      <Amount value={f.self} all={all} unit={unit} id="self" />
      <Amount value={f.total} all={all} unit={unit} id="total" />
    </div>
  );
}
