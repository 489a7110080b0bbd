import { chooseBlind, forecastText, groupText, intervalText, keyOf, killedUrl, rateText, scanText, suspectUrl, VERDICTS, WINDOWS, type Blind, type Killed, type LeaksAnswer, type Suspect } from "../data/leaks";
import { formatSpan } from "../data/time";
import { formatBytes, formatCount } from "../data/units";
import { Listing, NoAnswer, Stale } from "../listing/Listing";
import { go, loaded, refresh, rows, shown, state } from "./store";

/** The page of leaks: which stacks leak, how sure that is, and what filled the memory of processes that were killed. */
export function Leaks() {
  return (
    <Listing title="Leaks" windows={WINDOWS} window={state.value.window} onWindow={(window) => go({ window })} refresh={refresh}
      find={<input type="search" class="control services-find" placeholder="Find a service or function" aria-label="Find a service or function" data-testid="find" value={state.value.find} spellcheck={false}
        onInput={(e) => go({ find: e.currentTarget.value }, "replace")} />}>
      <Body />
    </Listing>
  );
}

function Body() {
  const { error, value } = loaded.value;
  const list = rows.value;
  if (!value || list === null) return <NoAnswer what="leaks" error={error} refresh={refresh} />;
  return (
    <>
      <Stale error={error} />
      {value.groups.length === 0 ? <Empty /> : <Verdicts answer={value} list={list} />}
      {value.killed.length > 0 && <Deaths list={value.killed} />}
      {value.blind.length > 0 && <NotSeen list={chooseBlind(value.blind, state.value.find)} more={value.blind_left_out} />}
    </>
  );
}

/** What to do where no heap is sampled. */
function Empty() {
  return (
    <div class="notice" data-testid="empty">
      <h2>No heap was sampled in the last {formatSpan(state.value.window)}</h2>
      <p>A service whose live heap is sampled is judged here: which code allocates what is never freed. On its host:</p>
      <pre><code>flamekeeper heap enable UNIT{"\n"}systemctl daemon-reload && systemctl restart UNIT</code></pre>
      <p class="quiet">UNIT is the service's systemd unit. It costs less than 2 % of its CPU; the agent of the host finds it by itself.</p>
    </div>
  );
}

function Verdicts({ answer, list }: { answer: LeaksAnswer; list: readonly Suspect[] }) {
  const suspect = shown.value;
  return (
    <>
      {list.length === 0 ? <p class="services-none" role="status">{nothing(answer)}</p> : <Table list={list} horizon={answer.horizon} open={suspect} />}
      {suspect && <Details suspect={suspect} scan={scanText(suspect, answer.groups)} />}
      <dl class="collector" aria-label="What was looked at">
        {answer.groups.map((group) => <div key={`${group.service} ${group.version}`}><dt>{group.service} {group.version.slice(0, 12)}</dt><dd>{groupText(group)}</dd></div>)}
        {answer.groups_left_out > 0 && <div><dt>not looked at</dt><dd>{formatCount(answer.groups_left_out)} more versions</dd></div>}
      </dl>
    </>
  );
}

function nothing(answer: LeaksAnswer): string {
  if (answer.suspects_total > 0) return `No service or function has “${state.value.find}” in its name.`;
  return "No sampled block has become old yet: nothing is known of leaks. Look again later, or over a longer window.";
}

function Table({ list, horizon, open }: { list: readonly Suspect[]; horizon: number; open: Suspect | null }) {
  return (
    <table class="hosts-table leaks-table" data-testid="leaks">
      <caption class="visually-hidden">Stacks with old blocks, {list.length}, leaks first. A function's name shows its details.</caption>
      <thead><tr>
        <th scope="col">Function</th><th scope="col">Service</th><th scope="col">Verdict</th><th scope="col" class="numeric">Forecast</th><th scope="col" class="numeric">95 % interval</th>
        <th scope="col" class="numeric">Now</th><th scope="col" class="numeric">Became old</th><th scope="col" class="numeric">Freed</th>
      </tr></thead>
      <tbody>{list.map((suspect) => <Row key={keyOf(suspect)} suspect={suspect} horizon={horizon} open={suspect === open} />)}</tbody>
    </table>
  );
}

function Row({ suspect, horizon, open }: { suspect: Suspect; horizon: number; open: boolean }) {
  return (
    <tr data-verdict={suspect.verdict} class={open ? "leaks-open" : ""}>
      <th scope="row"><button type="button" class="leaks-name" aria-pressed={open} title={suspect.function} onClick={() => go({ open: keyOf(suspect) })}>{suspect.function}</button></th>
      <td>{suspect.service} <span class="quiet">{suspect.version.slice(0, 12)}</span></td>
      <td><span class={`verdict ${suspect.verdict}`}>{VERDICTS[suspect.verdict]}</span></td>
      <td class="numeric"><span class="number">{forecastText(suspect, horizon)}</span></td>
      <td class="numeric"><span class="number">{intervalText(suspect)}</span></td>
      <td class="numeric"><span class="number">{rateText(suspect)}</span></td>
      <td class="numeric"><span class="number">{formatCount(suspect.reached)}</span></td>
      <td class="numeric"><span class="number">{formatCount(suspect.freed)}</span></td>
    </tr>
  );
}

/** The evidence and the stack of one suspect. */
function Details({ suspect, scan }: { suspect: Suspect; scan: string }) {
  return (
    <section class="leaks-details" aria-label={`Details of ${suspect.function}`} data-testid="details">
      <h2>{suspect.function}</h2>
      <p data-testid="evidence">{suspect.evidence}.</p>
      <p><a class="control primary" href={suspectUrl(suspect)}>Its live heap in Explore</a></p>
      {scan !== "" && <p data-testid="scan">What still holds its blocks, or that nothing does: <code>{scan}</code></p>}
      <ol class="leaks-stack">
        {suspect.stack.map((frame, i) => (
          <li key={i}><code>{frame.name}</code> <span class="quiet">{frame.module.split("/").pop()}{frame.file !== "" && ` · ${frame.file}:${frame.line}`}</span></li>
        ))}
        {suspect.frames_left_out > 0 && <li class="quiet">{formatCount(suspect.frames_left_out)} more frames</li>}
        {suspect.truncated !== null && <li class="quiet">The stack ends early: {suspect.truncated.replaceAll("_", " ")}</li>}
      </ol>
    </section>
  );
}

function Deaths({ list }: { list: readonly Killed[] }) {
  return (
    <section data-testid="killed">
      <h2 class="leaks-heading">Killed</h2>
      <table class="hosts-table">
        <caption class="visually-hidden">Processes that ended without their exit handlers, {list.length}</caption>
        <thead><tr><th scope="col">Process</th><th scope="col">Service</th><th scope="col">Host</th><th scope="col" class="numeric">Live at its end</th></tr></thead>
        <tbody>{list.map((killed) => <Death key={`${killed.host} ${killed.pid}`} killed={killed} />)}</tbody>
      </table>
    </section>
  );
}

function Death({ killed }: { killed: Killed }) {
  const url = killedUrl(killed);
  const name = `${killed.comm} ${killed.pid}`;
  return (
    <tr>
      <th scope="row">{url === null ? name : <a href={url} title="What filled its memory">{name}</a>}</th>
      <td>{killed.service} <span class="quiet">{killed.version.slice(0, 12)}</span></td>
      <td>{killed.host}</td>
      <td class="numeric"><span class="number">{formatBytes(killed.bytes)}</span></td>
    </tr>
  );
}

/** Services whose memory is not seen, or not all of it, and what to do: those that are sampled first. */
function NotSeen({ list, more }: { list: readonly Blind[]; more: number }) {
  return (
    <section data-testid="not-seen">
      <h2 class="leaks-heading">Not seen</h2>
      <table class="hosts-table">
        <caption class="visually-hidden">Services whose memory is not seen, or not all of it, {list.length}</caption>
        <thead><tr><th scope="col">Service</th><th scope="col">Why</th><th scope="col">What to do</th></tr></thead>
        <tbody>{list.flatMap(({ service, version, sampled, scraped, reasons }) => reasons.map(({ reason, cause, advice }, i) => (
          <tr key={`${service} ${version} ${reason}`} data-reason={reason}>
            <th scope="row">{i === 0 && <>{service} <span class="quiet">{version.slice(0, 12)}{sampled && " · sampled"}{scraped && " · scraped"}</span></>}</th>
            <td class="leaks-why">{cause}</td>
            <td class="leaks-why">{advice.split("`").map((part, at) => (at % 2 ? <code key={at}>{part}</code> : part))}</td>
          </tr>
        )))}</tbody>
      </table>
      {more > 0 && <p class="quiet">{formatCount(more)} more</p>}
    </section>
  );
}
