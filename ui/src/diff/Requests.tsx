import { useEffect, useState } from "preact/hooks";
import type { RequestsAnswer } from "../data/answers";
import { apiUrl, getJson } from "../data/api";
import { isCount, type Side } from "../data/diffState";
import { describePosted, postedFor, type PostedSide } from "../data/requests";
import { selectedValue } from "../data/selector";
import { Menu } from "../explore/Menu";
import { go, service, state } from "./store";

/** Values by requests: no sample knows how many a side served, so they are those that were posted, or typed in. */
export function Requests() {
  const on = state.value.by === "requests";
  return (
    <Menu title="What one request takes" testId="requests" class={on ? "requests right on" : "requests right"} label={on ? "A request" : "Requests"}>
      {(close) => <><Posted close={close} /><Counts close={close} /></>}
    </Menu>
  );
}

async function posted(name: string, { query, from, to }: Side, signal: AbortSignal): Promise<PostedSide | null> {
  const answer = await getJson<RequestsAnswer>(apiUrl("requests", { service: name, from, to }), signal);
  return postedFor(answer.requests, name, selectedValue(query, "version"), selectedValue(query, "host"));
}

function Posted({ close }: { close: () => void }) {
  const name = service.peek();
  const [found, setFound] = useState<readonly (PostedSide | null)[] | Error | null>(null);
  useEffect(() => {
    if (!name) return;
    const abort = new AbortController();
    const { a, b } = state.peek();
    Promise.all([posted(name, a, abort.signal), posted(name, b, abort.signal)])
      .then(setFound, (cause: unknown) => abort.signal.aborted || setFound(cause instanceof Error ? cause : new Error(String(cause))));
    return () => abort.abort();
  }, []);
  const take = () => {
    go({ by: "requests", requests_a: "", requests_b: "" });
    close();
  };
  if (!name) return <p class="panel-note">Choose a service: counts of requests are of one.</p>;
  if (found instanceof Error) return <p class="panel-note">{found.message}</p>;
  if (!found) return <p class="panel-note">Looking for counts…</p>;
  const both = found.every((side) => side !== null);
  return (
    <div class="pair posted" data-testid="posted">
      {(["A", "B"] as const).map((side, i) => (
        <p key={side}><span class={`side-tag side-${side.toLowerCase()}`}>{side}</span><span class={found[i] ? "" : "quiet"}>{describePosted(found[i])}</span></p>
      ))}
      {both
        ? <button type="button" class="control primary" data-autofocus onClick={take}>Divide by what was posted</button>
        : <p class="quiet">Whatever counts the requests of {name} may post them: <code>flamekeeper requests post</code>, or POST /api/v1/requests.</p>}
    </div>
  );
}

function Counts({ close }: { close: () => void }) {
  const { requests_a, requests_b } = state.peek();
  const [counts, setCounts] = useState([requests_a, requests_b]);
  const apply = (e: Event) => {
    e.preventDefault();
    go({ by: "requests", requests_a: counts[0], requests_b: counts[1] });
    close();
  };
  return (
    <form class="pair" onSubmit={apply}>
      <p class="panel-note">Or say how many requests each side served in its window. Counts are taken as exact, also in the intervals.</p>
      {(["A", "B"] as const).map((side, i) => (
        <label key={side}><span class={`side-tag side-${side.toLowerCase()}`}>{side}</span>
          <input class="control" inputMode="numeric" pattern="[0-9]*" placeholder="requests" aria-label={`Requests of ${side}`} data-testid={`requests-${side.toLowerCase()}`}
            value={counts[i]} onInput={(e) => setCounts(counts.map((count, k) => (k === i ? e.currentTarget.value.trim() : count)))} />
        </label>
      ))}
      <button type="submit" class="control" disabled={!counts.every(isCount)}>Divide by requests</button>
    </form>
  );
}
