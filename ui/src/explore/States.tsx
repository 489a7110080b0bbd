import { Logo } from "./icons";
import { refresh, reselect, services, state, status, wholeState } from "./store";
import { showLast, widenWindow } from "./window";
import { formatLocal } from "../data/time";
import { formatCount } from "../data/units";

/** What stands in the pane where there is no picture: loading, error, or nothing found. Null where there is one. */
export function PaneState() {
  const { value, error, loading, bytes } = wholeState.value;
  if (error) return <Failure message={error.message} stale={value !== null} retry={refresh} />;
  if (!value) return loading ? <Loading text="Loading the flamegraph" bytes={bytes} /> : null;
  if (value.tree.total[0] > 0) return null;
  const known = status.state.value.value;
  if (known?.samples_stored === 0 && services.state.value.value?.services.length === 0) return <NoAgent since={known.started} />;
  return <NothingHere />;
}

/** What stands in a pane while its first answer is under way. */
export function Loading({ text, bytes }: { text: string; bytes: number }) {
  return <div class="notice" role="status"><p class="quiet">{text}{bytes > 0 ? ` · ${formatCount(bytes / 1000)} kB` : ""}…</p></div>;
}

/** Why there is no answer; beside the one before, where there is one. */
export function Failure({ message, stale, retry }: { message: string; stale: boolean; retry: () => void }) {
  return (
    <div class={`notice error ${stale ? "stale" : ""}`} role="alert">
      <h2>{stale ? "Could not refresh" : "No answer to show"}</h2>
      <p>{message}</p>
      <button type="button" class="control primary" onClick={retry}>Retry</button>
    </div>
  );
}

function NoAgent({ since }: { since: number }) {
  return (
    <div class="notice" data-testid="empty">
      <Logo />
      <h2>No agent has reported yet</h2>
      <p>The collector has had no samples since it started at {formatLocal(since, Date.now() / 1000)}. Start both on this host; the first flamegraph appears here within 15 seconds:</p>
      <pre><code>flamekeeper up</code></pre>
      <p class="quiet">On other hosts: <code>flamekeeper agent --collector {location.origin}</code></p>
      <p class="quiet">This page looks again by itself.</p>
    </div>
  );
}

function NothingHere() {
  const { query } = state.value;
  const others = services.state.value.value?.services.length ?? 0;
  return (
    <div class="notice" data-testid="empty">
      <h2>No samples here</h2>
      <p>{query === "" ? "Nothing was sampled in this window." : others > 0 ? "Nothing in this window has these labels." : "Nothing was sampled in this window, whatever the labels."}</p>
      <div class="actions">
        <button type="button" class="control primary" onClick={() => showLast(900)}>Last 15 min</button>
        <button type="button" class="control" onClick={widenWindow}>Wider window</button>
        {query !== "" && <button type="button" class="control" onClick={() => reselect({ query: "" })}>All services</button>}
      </div>
    </div>
  );
}
