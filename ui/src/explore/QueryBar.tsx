import { useState } from "preact/hooks";
import { parseSelector, selectedValue, withValue } from "../data/selector";
import { formatLocal, formatSpan, parseTime } from "../data/time";
import { formatCount, formatShare } from "../data/units";
import { Meter } from "./Amount";
import { Icon } from "./icons";
import { Menu } from "./Menu";
import { answeredWindow, go, LIVE_SECONDS, refresh, reselect, services, state, types, wholeState } from "./store";
import { PRESETS, showLast, stepWindow } from "./window";

/** What is looked at: service, labels, type, and when. */
export function QueryBar() {
  return (
    <section class="query-bar" aria-label="Selection">
      <ServicePicker />
      <SelectorField />
      <TypePicker />
      <span class="spacer" />
      <RangePicker />
    </section>
  );
}

function ServicePicker() {
  const current = selectedValue(state.value.query, "service");
  const choose = (service: string | null) => reselect({ query: withValue(state.peek().query, "service", service) });
  return (
    <Menu testId="service-picker" title="Choose a service" class="service-picker" label={<><span class="control-key">Service</span><strong>{current ?? "all"}</strong></>}>
      {(close) => <ServiceList current={current} choose={(s) => { choose(s); close(); }} />}
    </Menu>
  );
}

function ServiceList({ current, choose }: { current: string | null; choose: (service: string | null) => void }) {
  const [filter, setFilter] = useState("");
  const all = services.state.value.value?.services ?? [];
  const sum = all.reduce((s, row) => s + row.value, 0);
  const rows = all.filter((row) => row.service.toLowerCase().includes(filter.toLowerCase()));
  return (
    <>
      <input class="panel-filter" type="search" placeholder={`Filter ${all.length} services`} aria-label="Filter services" value={filter} data-autofocus data-testid="service-filter"
        onInput={(e) => setFilter(e.currentTarget.value)} onKeyDown={(e) => e.key === "Enter" && rows[0] && choose(rows[0].service)} />
      <div class="options">
        {filter === "" && <button type="button" class="option" aria-pressed={current === null} onClick={() => choose(null)}><span>all services</span></button>}
        {rows.map((row) => (
          <button type="button" class="option" key={row.service} aria-pressed={row.service === current} data-service={row.service} onClick={() => choose(row.service)}
            title={`${formatCount(row.samples)} samples on ${row.hosts} ${row.hosts === 1 ? "host" : "hosts"}; versions: ${row.versions.join(", ") || "unknown"}`}>
            <span class="option-name">{row.service || "(no service)"}</span>
            <Meter share={sum > 0 ? row.value / sum : 0} />
            <span class="number">{formatShare(sum > 0 ? row.value / sum : 0)}</span>
          </button>
        ))}
        {rows.length === 0 && <p class="quiet">{all.length === 0 ? "No service has samples in this window." : "No service has this in its name."}</p>}
      </div>
    </>
  );
}

/** A small bar that shows a share (0 to 1). */
function SelectorField() {
  const { query } = state.value;
  const [draft, setDraft] = useState<string | null>(null);
  const parsed = draft === null ? [] : parseSelector(draft);
  const error = Array.isArray(parsed) ? null : parsed.error;
  const commit = () => {
    if (draft !== null && error === null && draft !== query) reselect({ query: draft.trim() });
    if (error === null) setDraft(null);
  };
  return (
    <label class={`selector ${error ? "wrong" : ""}`}>
      <span class="visually-hidden">Label selector</span>
      <input type="text" class="control mono" spellcheck={false} autocomplete="off" data-testid="selector" placeholder='all labels — try {host="web-1", version!="1.4"}'
        value={draft ?? query} onInput={(e) => setDraft(e.currentTarget.value)} onBlur={commit} aria-invalid={error !== null}
        onKeyDown={(e) => { if (e.key === "Enter") commit(); if (e.key === "Escape") { setDraft(null); e.currentTarget.blur(); } }} />
      {error && <span class="field-error" role="alert">{error}</span>}
    </label>
  );
}

function TypePicker() {
  const { type } = state.value;
  const known = types.state.value.value?.types.map((t) => t.type) ?? [];
  const all = known.includes(type) ? known : [type, ...known];
  return (
    <label class="control select"><span class="control-key">Type</span>
      <select value={type} aria-label="Profile type" onChange={(e) => reselect({ type: e.currentTarget.value })}>
        {all.map((t) => <option key={t} value={t}>{t}</option>)}
      </select>
    </label>
  );
}

function RangePicker() {
  const { live } = state.value;
  return (
    <div class="range">
      <div class="group">
        <button type="button" class="control" title="Step back by one window  [" aria-label="Step back" onClick={() => stepWindow(-1)}><Icon name="back" /></button>
        <Menu title="Choose a time range" testId="range" label={<span class="range-text">{rangeText()}</span>}>{(close) => <RangePanel close={close} />}</Menu>
        <button type="button" class="control" title="Step forth by one window  ]" aria-label="Step forth" onClick={() => stepWindow(1)}><Icon name="forth" /></button>
      </div>
      <button type="button" class="control" title="Load again" aria-label="Load again" onClick={refresh}><Icon name="refresh" /></button>
      <button type="button" class={`control live ${live ? "on" : ""}`} aria-pressed={live} title={`Follow the present: refreshes every ${LIVE_SECONDS} s`} onClick={toggleLive}>
        <span class="live-dot" />Live
      </button>
    </div>
  );
}

function toggleLive(): void {
  const { live, to } = state.peek();
  if (live) return go({ live: false }, "replace");
  if (to === "now") return go({ live: true }, "replace");
  go({ live: true, from: "-15m", to: "now" });
}

function rangeText(): string {
  const { from, to } = state.value;
  const relative = /^-(\d+)([smhdw])$/.exec(from);
  if (to === "now" && relative) return `last ${relative[1]} ${{ s: "s", m: "min", h: "h", d: "d", w: "w" }[relative[2]]}`;
  const now = Date.now() / 1000;
  const w = answeredWindow.value;
  const a = parseTime(from, now) ?? w?.from;
  const b = parseTime(to, now) ?? w?.to;
  if (a === undefined || b === undefined) return `${from} – ${to}`;
  return `${formatLocal(a, now)} – ${formatLocal(b, now)} · ${formatSpan(b - a)}`;
}

function RangePanel({ close }: { close: () => void }) {
  const [from, setFrom] = useState(state.peek().from);
  const [to, setTo] = useState(state.peek().to);
  const now = Date.now() / 1000;
  const a = parseTime(from, now);
  const b = parseTime(to, now);
  const error = a === null || b === null ? "Write 2026-11-24 14:00, -2h, or now." : a >= b ? "From must be before to." : null;
  const apply = (e: Event) => {
    e.preventDefault();
    if (error !== null) return;
    go({ from: from.trim(), to: to.trim(), live: false });
    close();
  };
  return (
    <>
      <div class="presets">
        {PRESETS.map((s) => <button type="button" class="option" key={s} onClick={() => { showLast(s); close(); }}>Last {formatSpan(s)}</button>)}
      </div>
      <form class="absolute" onSubmit={apply}>
        <label>From<input class="control mono" value={from} onInput={(e) => setFrom(e.currentTarget.value)} data-autofocus /></label>
        <label>To<input class="control mono" value={to} onInput={(e) => setTo(e.currentTarget.value)} /></label>
        <p class="quiet">{error ?? "Local time without a zone; -2h and now move with the clock."}</p>
        <button type="submit" class="control primary" disabled={error !== null}>Show</button>
      </form>
    </>
  );
}

/** A thin line under the bar while anything loads, with what has arrived. */
export function Progress() {
  const { loading, bytes } = wholeState.value;
  return <div class={`progress ${loading ? "on" : ""}`} role="progressbar" aria-label={loading ? `Loading, ${formatCount(bytes)} bytes so far` : "Loaded"} />;
}
