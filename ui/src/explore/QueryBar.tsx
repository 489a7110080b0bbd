import { useState } from "preact/hooks";
import { selectedValue, withValue } from "../data/selector";
import { typeName, typeNote } from "../data/types";
import { formatCount, formatShare } from "../data/units";
import { Meter } from "./Amount";
import { Icon } from "./icons";
import { Menu } from "./Menu";
import { RangePanel, rangeText } from "./Range";
import { SelectorField } from "./SelectorField";
import { answeredWindow, go, LIVE_SECONDS, refresh, reselect, services, state, types } from "./store";
import { showLast, stepWindow } from "./window";

/** What is looked at: service, labels, type, and when. */
export function QueryBar() {
  return (
    <section class="query-bar" aria-label="Selection">
      <ServicePicker />
      <SelectorField label="Label selector" query={state.value.query} onChange={(query) => reselect({ query })} />
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

function TypePicker() {
  const { type } = state.value;
  const known = types.state.value.value?.types.map((t) => t.type) ?? [];
  const all = known.includes(type) ? known : [type, ...known];
  return (
    <label class="control select"><span class="control-key">Type</span>
      <select value={type} aria-label="Profile type" onChange={(e) => reselect({ type: e.currentTarget.value })}>
        {all.map((t) => <option key={t} value={t} title={t}>{typeName(t)}</option>)}
      </select>
    </label>
  );
}

/** What is to be known of the type before anything is concluded from it, where there is something. */
export function TypeNote() {
  const note = typeNote(state.value.type);
  return note === "" ? null : <p class="type-note quiet" data-testid="type-note">{note}</p>;
}

function RangePicker() {
  const { live } = state.value;
  return (
    <div class="range">
      <div class="group">
        <button type="button" class="control" title="Step back by one window  [" aria-label="Step back" onClick={() => stepWindow(-1)}><Icon name="back" /></button>
        <Menu title="Choose a time range" testId="range" label={<span class="range-text">{rangeText(state.value, answeredWindow.value)}</span>}>{(close) => <RangePanel {...state.peek()} close={close} onLast={showLast} onTimes={(from, to) => go({ from, to, live: false })} />}</Menu>
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
