import { earlier, lengthOf, DIFF_DEFAULTS } from "../data/diffState";
import { Failure, Loading } from "../explore/States";
import { NoAgent } from "../listing/Listing";
import { choose, chooseDeploy, compareState, deploys, diffState, noAgent, refresh, service, state } from "./store";

/** What stands in the panes where there is no picture: loading, error, or a side without samples. Null where there is one. */
export function DiffPaneState() {
  const { value, error, loading, bytes } = diffState.value;
  const choosing = compareState.value;
  if (noAgent.value) return <NoAgent title="There is nothing to compare yet" hint="No service has sent a sample. Start an agent on each host that is to be seen here; what it samples can be compared as soon as there are two windows of it:"><p class="quiet">This page looks again by itself.</p></NoAgent>;
  if (state.value.deploy !== "") return choosing.error ? <NoDeploy message={choosing.error.message} /> : <Loading text={`Choosing windows before and after the deploy of ${state.value.deploy}`} bytes={0} />;
  if (error) return <Failure message={error.message} stale={value !== null} retry={refresh} />;
  if (!value) return loading ? <Loading text="Comparing" bytes={bytes} /> : null;
  const [a, b] = [value.a.weight > 0, value.b.weight > 0];
  return a && b ? null : <Lacking side={a ? "B" : b ? "A" : "Neither side"} />;
}

// The service's last 15 minutes against those before, where no deploy can be compared.
function NoDeploy({ message }: { message: string }) {
  const { deploy } = state.value;
  const query = `{service=${JSON.stringify(deploy)}}`;
  const { a, b } = DIFF_DEFAULTS;
  return (
    <div class="notice error" role="alert" data-testid="empty">
      <h2>No deploy to compare</h2>
      <p>{message}</p>
      <p class="quiet">A deploy is a change of a service's version: service.version in its OTEL_RESOURCE_ATTRIBUTES, else the build id of its program.</p>
      <div class="actions"><button type="button" class="control primary" onClick={() => choose({ a: { ...a, query }, b: { ...b, query } })}>Compare with an hour before</button></div>
    </div>
  );
}

function Lacking({ side }: { side: string }) {
  const { b } = state.value;
  const now = Date.now() / 1000;
  const length = lengthOf(b, now);
  const before = length === null ? null : earlier(b, length, now);
  const name = service.value;
  const deployed = name && deploys.state.value.value?.deploys.some((d) => d.kind !== "mark");
  return (
    <div class="notice" data-testid="empty">
      <h2>{side === "Neither side" ? "Neither side has samples" : `${side} has no samples`}</h2>
      <p>{side === "A" ? "Nothing that A selects ran in its window. Take one in which it did:" : side === "B" ? "Nothing that B selects ran in its window. Choose another window or selector for it above." : "Nothing that the two selectors name ran in these windows. Choose a service, or other windows, above."}</p>
      <div class="actions">
        {side === "A" && before && <button type="button" class="control primary" onClick={() => choose({ a: before })}>The window right before B</button>}
        {name && deployed && <button type="button" class="control" onClick={() => chooseDeploy(name)}>Before and after its last deploy</button>}
      </div>
    </div>
  );
}
