import { useEffect, useState } from "preact/hooks";
import type { Deploy } from "../data/answers";
import { apiUrl, getJson } from "../data/api";
import { earlier, lengthOf, type By, type Side } from "../data/diffState";
import { selectedValue, withValue } from "../data/selector";
import { formatLocal, formatSpan } from "../data/time";
import { typeName } from "../data/types";
import { Choice } from "../explore/Choice";
import { Icon } from "../explore/icons";
import { Menu } from "../explore/Menu";
import { Requests } from "./Requests";
import { choose, chooseDeploy, deploys, go, isReadable, refresh, service, services, state, types } from "./store";

/** What is compared, by one click: a service before and after a deploy, the same some time earlier, two versions, two hosts. */
export function Presets() {
  const { type, by } = state.value;
  const kinds = types.state.value.value?.types.map((t) => t.type) ?? [];
  return (
    <section class="query-bar diff-presets" aria-label="What to compare">
      <ServiceSelect />
      <DeployMenu />
      <div class="group" role="group" aria-label="A is the same, earlier">
        <Earlier seconds={0} text="Window before" />
        <Earlier seconds={3600} text="−1 h" />
        <Earlier seconds={86400} text="−1 d" />
        <Earlier seconds={604800} text="−7 d" />
      </div>
      <div class="group" role="group" aria-label="Two of a kind">
        <Pair label="version" />
        <Pair label="host" />
      </div>
      <span class="spacer" />
      <label class="control select"><span class="control-key">Type</span>
        <select value={type} aria-label="Profile type" onChange={(e) => choose({ type: e.currentTarget.value })}>
          {(kinds.includes(type) ? kinds : [type, ...kinds]).map((t) => <option key={t} value={t} title={t}>{typeName(t)}</option>)}
        </select>
      </label>
      <Choice label="Values" value={by} options={[["cores", "Rate", "for each host and second of it: what it costs"], ["share", "Share", "of each side's total: what it is made of"]]} onChange={(value) => go({ by: value as By, requests_a: "", requests_b: "" }, "replace")}><Requests /></Choice>
      <button type="button" class="control" title="Load again" aria-label="Load again" onClick={refresh}><Icon name="refresh" /></button>
    </section>
  );
}

function ServiceSelect() {
  const known = services.state.value.value?.services.map((s) => s.service) ?? [];
  const now = service.value ?? "";
  const take = (name: string) => {
    const { a, b } = state.peek();
    const of = (side: Side) => ({ ...side, query: withValue(side.query, "service", name === "" ? null : name) });
    choose({ a: of(a), b: of(b) });
  };
  return (
    <label class="control select"><span class="control-key">Service</span>
      <select value={now} aria-label="Service on both sides" data-testid="diff-service" onChange={(e) => take(e.currentTarget.value)}>
        <option value="">all</option>
        {(known.includes(now) || now === "" ? known : [now, ...known]).filter((name) => name !== "").map((name) => <option key={name} value={name}>{name}</option>)}
      </select>
    </label>
  );
}

// A becomes what B is, so many seconds earlier; 0 stands for the length of B.
function Earlier({ seconds, text }: { seconds: number; text: string }) {
  const now = Date.now() / 1000;
  const { b } = state.value;
  const by = seconds || lengthOf(b, now) || 0;
  const a = by > 0 ? earlier(b, by, now) : null;
  return (
    <button type="button" class="control" disabled={!a} title={`A: what B selects, ${seconds ? formatSpan(seconds) : "in the window right before"}${seconds ? " earlier" : ""}`} data-preset={seconds} onClick={() => a && choose({ a })}>{text}</button>
  );
}

function DeployMenu() {
  const name = service.value;
  return (
    <Menu title="Before and after a deploy" testId="deploy-menu" class="deploy-menu" label="Deploys">
      {(close) => name ? <DeployList name={name} close={close} /> : <p class="panel-note">Choose a service: a deploy is one's change of version.</p>}
    </Menu>
  );
}

// More are not looked through by hand: the link of a marker in Explore leads to any of them.
const SHOWN = 30;

function DeployList({ name, close }: { name: string; close: () => void }) {
  const { value, error } = deploys.state.value;
  if (error) return <p class="panel-note">{error.message}</p>;
  if (!value) return <p class="panel-note">Looking for deploys…</p>;
  const found = value.deploys.filter((d) => d.service === name && d.kind !== "mark").reverse();
  if (found.length === 0) return <p class="panel-note">{name} has not changed its version in 7 days. A version is service.version in its OTEL_RESOURCE_ATTRIBUTES, else the build id of its program.</p>;
  return (
    <div class="options">
      {found.slice(0, SHOWN).map((d, i) => <button type="button" class="option" key={`${d.at}${d.version}`} data-autofocus={i === 0} data-deploy={d.version} title={titleOf(d)} onClick={() => { chooseDeploy(name, d.version, d.previous); close(); }}>
        <span class="option-name">{d.previous || "?"} → <strong>{d.version}</strong></span>
        <span class="quiet">{d.kind === "rollback" ? "rollback" : ""}</span>
        <span class="number">{formatLocal(d.at, Date.now() / 1000)}</span>
      </button>)}
    </div>
  );
}

function titleOf(d: Deploy): string {
  return `On ${d.hosts.length} ${d.hosts.length === 1 ? "host" : "hosts"}, rolled out in ${formatSpan(Math.max(1, d.rolled_out - d.at))}${d.overlaps ? ", beside the version before" : ""}`;
}

/** Two values of a label, for A and for B. */
function Pair({ label }: { label: "version" | "host" }) {
  return (
    <Menu title={`Compare two ${label}s`} testId={`pair-${label}`} class="pair-menu" label={label === "version" ? "Versions" : "Hosts"}>
      {(close) => <PairPanel label={label} close={close} />}
    </Menu>
  );
}

function PairPanel({ label, close }: { label: "version" | "host"; close: () => void }) {
  const { a, b } = state.peek();
  const [values, setValues] = useState<readonly string[] | Error | null>(null);
  const [pair, setPair] = useState([selectedValue(a.query, label) ?? "", selectedValue(b.query, label) ?? ""]);
  const name = service.peek();
  useEffect(() => {
    const abort = new AbortController();
    const query = name ? withValue("", "service", name) : "";
    getJson<{ values: string[] }>(apiUrl(`labels/${label}/values`, { from: "-7d", query }), abort.signal)
      .then((answer) => setValues(answer.values), (cause: unknown) => abort.signal.aborted || setValues(cause instanceof Error ? cause : new Error(String(cause))));
    return () => abort.abort();
  }, []);
  if (values instanceof Error) return <p class="panel-note">{values.message}</p>;
  if (!values) return <p class="panel-note">Loading…</p>;
  if (values.length < 2) return <p class="panel-note">{label === "version" && !name ? "Choose a service first: versions are one's." : `There is only one ${label} here in 7 days.`}</p>;
  const apply = (e: Event) => {
    e.preventDefault();
    take(label, name, pair as [string, string]);
    close();
  };
  return (
    <form class="pair" onSubmit={apply}>
      {(["A", "B"] as const).map((side, i) => (
        <label key={side}><span class={`side-tag side-${side.toLowerCase()}`}>{side}</span>
          <select class="control" value={pair[i]} aria-label={`${label} of ${side}`} data-testid={`pair-${side.toLowerCase()}`} onChange={(e) => setPair(pair.map((value, k) => (k === i ? e.currentTarget.value : value)))}>
            <option value="" disabled>which {label}?</option>
            {values.map((value) => <option key={value} value={value}>{value}</option>)}
          </select>
        </label>
      ))}
      <button type="submit" class="control primary" disabled={pair.includes("") || pair[0] === pair[1]}>Compare</button>
    </form>
  );
}

// For two versions of a service the collector says when to look; all else is looked at in B's window.
function take(label: "version" | "host", name: string | null, [first, second]: readonly [string, string]): void {
  if (label === "version" && name) return chooseDeploy(name, second, first);
  const { a, b } = state.peek();
  const base = isReadable(b.query) ? b.query : "";
  choose({ a: { ...b, query: withValue(isReadable(a.query) ? a.query : base, label, first) }, b: { ...b, query: withValue(base, label, second) } });
}
