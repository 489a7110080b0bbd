import { useState, useRef } from "preact/hooks";
import type { DiffFunction } from "../data/answers";
import { ratio, valuesOf, type Diff, type DiffSort } from "../data/diff";
import { formatChange, formatIn, formatRatio, unitOf, VERDICTS } from "../data/diffText";
import { visibleRows } from "../data/rows";
import { formatCount } from "../data/units";
import { openFunctionMenu } from "../explore/menuState";
import { printing } from "../explore/printing";
import { scrollToRow, useViewport } from "../explore/scroll";
import { lastSegment } from "../flame/names";
import { parseSearch } from "../flame/search";
import { diff, go, rows, state } from "./store";

const ROW = 26;
const HEAD = 26;
// Rows on paper: what changed stands first.
const PRINTED = 100;

const COLUMNS: readonly [id: DiffSort, label: string, title: string][] = [
  ["name", "Function", "By name"],
  ["a", "A", "What it takes in A"],
  ["b", "B", "What it takes in B"],
  ["change", "Change", "By the size of the change, whatever chance says"],
  ["ratio", "%", "By the change as a share of A"],
  ["rank", "Verdict", "What is beyond chance first, the greatest change first"],
];

/** Every function that the answer lists, ranked; only the rows in view are in the page. */
export function DiffTable() {
  const body = useRef<HTMLDivElement>(null);
  const viewport = useViewport(body);
  const [at, setAt] = useState(0);
  const list = rows.value;
  const now = diff.value;
  const { filter, only } = state.value;
  const count = printing.value ? Math.min(list.length, PRINTED) : list.length;
  const { first, last } = printing.value ? { first: 0, last: count } : visibleRows(list.length, viewport.scroll, viewport.height, ROW);
  const move = (to: number) => {
    setAt(to);
    if (body.current) scrollToRow(body.current, to, ROW, HEAD);
  };
  return (
    <section class="table-pane diff-table" data-testid="diff-table" aria-label="Functions">
      <div class="table-tools">
        <input type="search" class="control" placeholder="Filter functions" aria-label="Filter functions" value={filter} onInput={(e) => go({ filter: e.currentTarget.value }, "replace")} />
        <button type="button" class="control" aria-pressed={only} title="Leave out what chance explains" onClick={() => go({ only: !only }, "replace")}>Beyond chance</button>
        <span class="quiet number" title={now && now.functions_total > now.functions.length ? `Those with the greatest changes and totals, of ${formatCount(now.functions_total)}` : undefined}>{now && `${formatCount(list.length)} of ${formatCount(now.functions_total)}`}</span>
      </div>
      <div class="table-body" ref={body} tabIndex={0} role="grid" aria-label="Functions" aria-rowcount={list.length + 1} aria-activedescendant={at >= first && at < last ? rowId(at) : undefined}
        onKeyDown={(e) => onKey(e, body.current, list, at, move)} onContextMenu={(e) => list[at] && openFunctionMenu(e, list[at], document.getElementById(rowId(at)) ?? undefined)}>
        <div class="table-head" role="row">{COLUMNS.map(([id, label, title]) => <Head key={id} id={id} label={label} title={title} unit={now ? unitOf(now) : ""} />)}</div>
        {now && (list.length === 0 ? <p class="table-note quiet">{only ? "Nothing changed beyond chance here." : `None of the ${formatCount(now.functions.length)} functions listed has this in its name or module.`}</p> : (
          <div class="table-space" style={{ height: `${count * ROW}px` }}>
            <div style={{ transform: `translateY(${first * ROW}px)` }}>
              {list.slice(first, last).map((f, i) => <Row key={first + i} diff={now} f={f} row={first + i} current={first + i === at} onPick={() => { setAt(first + i); pick(f); }} />)}
            </div>
          </div>
        ))}
      </div>
    </section>
  );
}

const rowId = (row: number) => `change-${row}`;

function onKey(e: KeyboardEvent, body: HTMLElement | null, list: readonly DiffFunction[], at: number, move: (to: number) => void): void {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target !== body) return;
  const last = Math.max(0, list.length - 1);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 15, PageUp: at - 15, Home: 0, End: last }[e.key];
  if (to !== undefined) move(Math.min(last, Math.max(0, to)));
  else if ((e.key === "Enter" || e.key === " ") && list[at]) pick(list[at]);
  else return;
  e.preventDefault();
}

// A click searches the function in the graph, a second one ends the search.
function pick({ name }: DiffFunction): void {
  go({ search: state.peek().search === name ? "" : name }, "replace");
}

function Head({ id, label, title, unit }: { id: DiffSort; label: string; title: string; unit: string }) {
  const on = state.value.sort === id;
  return (
    <span role="columnheader" aria-sort={on ? (id === "name" ? "ascending" : "descending") : "none"} class={`diff-${id}`}>
      <button type="button" class={on ? "on" : ""} title={id === "change" ? `${title}; in ${unit}, with its 95 % interval` : title} onClick={() => go({ sort: id }, "replace")}>{label}{on && <span aria-hidden="true">{id === "name" ? " ↑" : " ↓"}</span>}</button>
    </span>
  );
}

function Row({ diff: now, f, row, current, onPick }: { diff: Diff; f: DiffFunction; row: number; current: boolean; onPick: () => void }) {
  const [a, b] = valuesOf(f);
  const matcher = parseSearch(state.value.search);
  const marked = typeof matcher === "function" && matcher(f.name);
  return (
    <div id={rowId(row)} class={`row ${marked ? "marked" : ""} ${current ? "current" : ""}`} role="row" aria-rowindex={row + 2} data-function={f.name} data-verdict={f.verdict} title={titleOf(now, f)}
      onClick={onPick} onContextMenu={(e) => { e.stopPropagation(); openFunctionMenu(e, f); }}>
      <span class="cell-name" role="gridcell"><span class="name">{f.name}</span>{f.of === "total" && <span class="diff-of" title="The change is of the function with what it calls">total</span>}<span class="module">{lastSegment(f.module)}</span></span>
      <span class="diff-a number" role="gridcell">{formatIn(now, a)}</span>
      <span class="diff-b number" role="gridcell">{formatIn(now, b)}</span>
      <span class="diff-change number" role="gridcell">{f.verdict === "chance" ? <span>{formatChange(now, f.change)}</span> : <strong>{formatChange(now, f.change)}</strong>}<Interval diff={now} f={f} /></span>
      <span class="diff-ratio number" role="gridcell">{formatIn(now, f.change) === "0" ? "" : formatRatio(ratio(a, b))}</span>
      <span class="diff-rank" role="gridcell"><VerdictTag f={f} /></span>
    </div>
  );
}

/** The 95 % interval of a function's change. */
export function Interval({ diff: now, f }: { diff: Diff; f: DiffFunction }) {
  return f.low === null || f.high === null ? null : <span class="interval number">{formatChange(now, f.low)} … {formatChange(now, f.high)}</span>;
}

/** What is said of a function. */
export function VerdictTag({ f }: { f: DiffFunction }) {
  const [word, title] = VERDICTS[f.verdict];
  return <span class={`told told-${f.verdict}`} title={f.moved_from !== null ? `${title}; in A it is ${f.moved_from}` : title}>{word}{f.moved_from !== null && f.moved_from !== f.name && `, was ${f.moved_from}`}</span>;
}

function titleOf(now: Diff, f: DiffFunction): string {
  const unit = unitOf(now);
  const lines = [f.name, f.module, `self ${formatIn(now, f.self_a)} → ${formatIn(now, f.self_b)}, total ${formatIn(now, f.total_a)} → ${formatIn(now, f.total_b)} ${unit}`];
  if (f.low !== null && f.high !== null) lines.push(`${f.of} changed by ${formatChange(now, f.change)}, 95 % between ${formatChange(now, f.low)} and ${formatChange(now, f.high)}`);
  if (f.seen !== null) lines.push(`a change of ${formatIn(now, f.seen)} would have been told 4 times of 5`);
  return lines.filter((line) => line !== "").join("\n");
}
