import { computed, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { TopFunction } from "../data/answers";
import { tableRows, visibleRows } from "../data/rows";
import type { SortKey } from "../data/url";
import { formatCount, formatShare, formatValue } from "../data/units";
import { lastSegment } from "../flame/palette";
import { parseSearch } from "../flame/search";
import { Meter } from "./QueryBar";
import { go, state, top } from "./store";

const ROW = 24;

const filter = computed(() => state.value.filter);
const sort = computed(() => state.value.sort);
const answer = computed(() => top.state.value.value);
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
    <div class="table-pane" data-testid="table" role="table" aria-label="Functions" aria-rowcount={rows.value.length + 1}>
      <div class="table-tools">
        <input type="search" class="control" placeholder="Filter functions" aria-label="Filter functions" data-testid="table-filter" value={filter.value}
          onInput={(e) => go({ filter: e.currentTarget.value }, "replace")} />
        <span class="quiet number">{answer.value ? `${formatCount(rows.value.length)} of ${formatCount(answer.value.functions.length)}` : loading ? "loading…" : ""}</span>
      </div>
      <div class="table-head" role="row">
        <Head id="name" label="Function" />
        <Head id="self" label="Self" />
        <Head id="total" label="Total" />
      </div>
      <div class="table-body" ref={body} tabIndex={0} role="rowgroup" aria-label="Functions">
        {error && !answer.value ? <p class="table-note">{error.message}</p> : <Rows />}
      </div>
    </div>
  );
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
  const { scroll, height } = viewport.value;
  const { first, last } = visibleRows(rows.value.length, scroll, height, ROW);
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
  // A click searches the function; a second one ends the search.
  const toggle = () => go({ search: state.peek().search === f.name ? "" : f.name }, "replace");
  return (
    <div class={`row ${marked ? "marked" : ""}`} role="row" aria-rowindex={index + 2} onClick={toggle} title={`${f.name}\n${f.module}${f.file ? `\n${f.file}:${f.line}` : ""}`}>
      <span class="cell-name" role="cell"><span class="name">{f.name}</span><span class="module">{lastSegment(f.module)}</span></span>
      <Amount value={f.self} all={all} unit={unit} id="self" />
      <Amount value={f.total} all={all} unit={unit} id="total" />
    </div>
  );
}

function Amount({ value, all, unit, id }: { value: number; all: number; unit: string; id: string }) {
  return (
    <span class={`cell-${id} amount`} role="cell">
      <Meter share={value / all} />
      <span class="number">{formatValue(value, unit)}</span>
      <span class="number share">{formatShare(value / all)}</span>
    </span>
  );
}
