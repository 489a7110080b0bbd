import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { areaPath, COLUMNS, exploreUrl, WINDOWS, type Column, type ServiceView } from "../data/services";
import { formatAge, formatRelative, formatSpan } from "../data/time";
import type { Deploy } from "../data/answers";
import { deployText, deployUrl, shortVersion } from "../data/deploys";
import { ratio, valuesOf } from "../data/diff";
import { formatRatio } from "../data/diffText";
import { formatCount, formatRate, formatShare } from "../data/units";
import { shortName } from "../flame/text";
import { changeOf, deploys, type Change } from "./changes";
import { Meter } from "../explore/Amount";
import { Listing, NoAgent, NoAnswer, SortHead, Stale } from "../listing/Listing";
import { go, loaded, refresh, rows, state, views } from "./store";

const TITLES: Record<Column, [text: string, title: string]> = {
  service: ["Service", "As the processes name themselves; else their container, unit or program"],
  cores: ["Cores", "CPU time by the length of the window, over all hosts"],
  hosts: ["Hosts", "Hosts that the service ran on in the window"],
  versions: ["Versions", "Versions seen in the window"],
};

const memory = signal<typeof import("./Memory") | null>(null);

const isText = (column: Column) => column === "service" || column === "versions";

/** The page of services: what uses the CPU of all hosts, and since when. */
export function Services() {
  useEffect(() => void import("./Memory").then((module) => (memory.value = module)), []);
  return (
    <Listing title="Services" windows={WINDOWS} window={state.value.window} onWindow={(window) => go({ window })} refresh={refresh}
      find={<input type="search" class="control services-find" placeholder="Find a service or version" aria-label="Find a service or version" data-testid="find" value={state.value.find} spellcheck={false}
        onInput={(e) => go({ find: e.currentTarget.value }, "replace")} />}>
      <Body />
    </Listing>
  );
}

function Body() {
  const { error } = loaded.value;
  const list = rows.value;
  if (list === null) return <NoAnswer what="services" error={error} refresh={refresh} />;
  const all = views.value ?? [];
  return (
    <>
      <Stale error={error} />
      {all.length === 0 ? <Empty /> : list.length === 0 ? <p class="services-none" role="status">No service or version has “{state.value.find}” in its name.</p> : <Table list={list} />}
    </>
  );
}

function Empty() {
  return (
    <NoAgent title={`Nothing was sampled in the last ${formatSpan(state.value.window)}`} hint="Start an agent on each host that is to be seen here; its services appear within 15 seconds:">
      <p class="quiet">This page looks again by itself.</p>
    </NoAgent>
  );
}

function Table({ list }: { list: readonly ServiceView[] }) {
  return (
    <table class="hosts-table services-table" data-testid="services">
      <caption class="visually-hidden">Services, {list.length}. A column's head sorts by it; a name leads to its flamegraph.</caption>
      <thead><tr>
        <Head column="service" /><th scope="col">Over time</th><Head column="cores" /><th scope="col">Share</th>
        <th scope="col" class="numeric" title="Resident memory of all its processes, and how fast it grows">Memory</th>
        {COLUMNS.slice(2).map((column) => <Head key={column} column={column} />)}
        <th scope="col" title="The last change of version in 7 days">Last deploy</th><th scope="col" title="Functions whose change is beyond chance, before and after it">What changed with it</th>
      </tr></thead>
      <tbody>{list.map((row) => <Row key={row.service} row={row} />)}</tbody>
    </table>
  );
}

function Head({ column }: { column: Column }) {
  const { sort, descending } = state.value;
  const on = sort === column;
  return <SortHead title={TITLES[column]} text={isText(column)} on={on} descending={descending} onSort={() => go({ sort: column, descending: on ? !descending : column !== "service" })} />;
}

function Row({ row }: { row: ServiceView }) {
  const { window } = state.value;
  return (
    <tr data-service={row.service}>
      <th scope="row"><a href={exploreUrl(row.service, formatRelative(window))} title="Its flamegraph in this window">{row.service || "(no service)"}</a></th>
      <td class="services-trend">{row.trend && <Trend trend={row.trend} />}</td>
      <td class="numeric" data-column="cores" title={`${formatCount(row.samples)} samples in the window`}><span class="number">{formatRate(row.cores * 1e9, "nanoseconds", 1).replace(/\scores$/, "")}</span></td>
      <td class="services-share"><Meter share={row.share} /><span class="number">{formatShare(row.share)}</span></td>
      {memory.value ? <memory.value.MemoryCell service={row.service} /> : <td />}
      <td class="numeric"><span class="number">{formatCount(row.hosts)}</span></td>
      <td class="services-versions" title={row.versions.join(", ")}><Versions list={row.versions} /></td>
      <LastDeploy deploy={deploys.value?.get(row.service) ?? null} />
    </tr>
  );
}

function LastDeploy({ deploy }: { deploy: Deploy | null }) {
  if (!deploy) return <><td class="quiet">{deploys.value ? "none seen" : ""}</td><td /></>;
  const change = changeOf(deploy);
  return (
    <>
      <td title={deployText(deploy)}><span class="services-version mono">{deploy.kind === "rollback" ? "↩ " : ""}{shortVersion(deploy.version)}</span> <span class="quiet number">{formatAge(Date.now() / 1000 - deploy.at)} ago</span></td>
      <td class="services-change" data-column="change"><a href={deployUrl(deploy)} title={`Before and after: ${deployText(deploy)}`}>{change ? changeText(change) : "before and after"}</a></td>
    </>
  );
}

// The greatest change says most; the page of diffs has the rest.
function changeText(change: Change): string {
  const { flagged } = change.statistics;
  const [first] = change.functions;
  if (flagged === 0 || !first) return "nothing beyond chance";
  return `${shortName(first.name)} ${formatRatio(ratio(...valuesOf(first)))}${flagged > 1 ? ` and ${flagged - 1} more` : ""}`;
}

// More do not fit on a line.
const SHOWN = 3;

function Versions({ list }: { list: readonly string[] }) {
  if (list.length === 0) return <span class="quiet">not stated</span>;
  const more = list.length - SHOWN;
  return <span title={list.join("\n")}>{list.slice(0, SHOWN).map((v) => <span key={v} class="services-version mono">{v.length > 16 ? `${v.slice(0, 15)}…` : v}</span>)}{more > 0 && <span class="quiet">and {more} more</span>}</span>;
}

const WIDE = 160;
const HIGH = 24;

// Each on a scale of its own: the column beside it says how much it is.
function Trend({ trend }: { trend: readonly number[] }) {
  const max = Math.max(...trend);
  return (
    <svg class="trend" width={WIDE} height={HIGH} viewBox={`0 0 ${WIDE} ${HIGH}`} preserveAspectRatio="none" role="img" aria-label={`At most ${formatRate(max * 1e9, "nanoseconds", 1)}`}>
      <title>{`At most ${formatRate(max * 1e9, "nanoseconds", 1)}`}</title>
      <path d={areaPath(trend, WIDE, HIGH, max)} />
    </svg>
  );
}
