import { COLUMNS, WINDOWS, type Cell, type Column, type HostView } from "../data/hosts";
import { formatSpan } from "../data/time";
import { Listing, NoAgent, NoAnswer, SortHead, Stale } from "../listing/Listing";
import { collector, go, loaded, refresh, rows, state } from "./store";

const TITLES: Record<Column, [text: string, title: string]> = {
  host: ["Host", "The host's name"],
  version: ["Agent", "Version of its agent"],
  frequency: ["Frequency", "Samples a second on each busy CPU: now, and as configured"],
  cpu: ["CPU / ceiling", "CPU time that the agent itself takes, in per cent of one core, and what it may take"],
  memory: ["Memory / ceiling", "The agent's anonymous memory and rings, and what it may take"],
  host_memory: ["Host memory", "Memory of the host in use, and all of it"],
  rate: ["Samples/s", "Samples stored in the window, for each second of it"],
  lost: ["Lost", "Samples taken and lost in the window"],
  truncated: ["Truncated", "Share of stacks that end before their root"],
  lag: ["Last batch", "Time since the end of the newest window that arrived"],
};

const isText = (column: Column) => column === "host" || column === "version";

/** The page of agents: what each does, what it costs its host, and how it restrains itself. */
export function Hosts() {
  return (
    <Listing title="Hosts" windows={WINDOWS} window={state.value.window} onWindow={(window) => go({ window })} refresh={refresh}>
      <Body />
      <Collector />
    </Listing>
  );
}

function Body() {
  const { error } = loaded.value;
  const list = rows.value;
  if (list === null) return <NoAnswer what="hosts" error={error} refresh={refresh} />;
  return (
    <>
      <Stale error={error} />
      {list.length === 0 ? <Empty /> : <Table list={list} />}
    </>
  );
}

/** What is kept, and how full the collector's disk is. */
function Collector() {
  const facts = collector.value.value;
  if (!facts) return null;
  return (
    <dl class="collector" aria-label="Collector" data-testid="collector">
      {facts.map(({ label, text, title, bad }) => <div key={label} title={title} class={bad ? "bad" : ""}><dt>{label}</dt><dd class="number">{text}</dd></div>)}
    </dl>
  );
}

function Empty() {
  return (
    <NoAgent title={`No agent has reported in the last ${formatSpan(state.value.window)}`} hint="Start one on each host that is to be seen here; it appears within 15 seconds:" />
  );
}

function Table({ list }: { list: readonly HostView[] }) {
  return (
    <table class="hosts-table" data-testid="hosts">
      <caption class="visually-hidden">Agents, {list.length}. A column's head sorts by it.</caption>
      <thead><tr>{COLUMNS.map((column) => <Head key={column} column={column} />)}<th scope="col">In force</th></tr></thead>
      <tbody>{list.map((row) => <Row key={row.host} row={row} />)}</tbody>
    </table>
  );
}

function Head({ column }: { column: Column }) {
  const { sort, descending } = state.value;
  const on = sort === column;
  return <SortHead title={TITLES[column]} text={isText(column)} on={on} descending={descending} onSort={() => go({ sort: column, descending: on ? !descending : !isText(column) })} />;
}

function Row({ row }: { row: HostView }) {
  return (
    <tr data-host={row.host}>
      <th scope="row"><a href={`/explore?query=${encodeURIComponent(`{host=${JSON.stringify(row.host)}}`)}`} title="What this host did">{row.cells.host.text}</a></th>
      {COLUMNS.slice(1).map((column) => <Field key={column} column={column} cell={row.cells[column]} />)}
      <td class="in-force">{row.restraints.length === 0 ? <span class="quiet">nothing</span> : row.restraints.map((r) => <span class="restraint" key={r.text} title={r.title}>{r.text}</span>)}</td>
    </tr>
  );
}

function Field({ column, cell }: { column: Column; cell: Cell }) {
  return (
    <td class={`${column === "version" ? "" : "numeric"} ${cell.bad ? "bad" : ""}`} title={cell.title} data-column={column}>
      <span class="number">{cell.text}</span>
      {cell.fill !== undefined && <span class="meter" aria-hidden="true"><span style={{ width: `${Math.min(100, cell.fill * 100)}%` }} /></span>}
    </td>
  );
}
