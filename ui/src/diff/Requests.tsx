import { useState } from "preact/hooks";
import { isCount } from "../data/diffState";
import { Menu } from "../explore/Menu";
import { go, state } from "./store";

/** Values by requests: how many each side served is asked for, since no sample knows it. */
export function Requests() {
  const on = state.value.by === "requests";
  return (
    <Menu title="What one request takes" testId="requests" class={on ? "requests on" : "requests"} label={on ? "A request" : "Requests"}>
      {(close) => <Counts close={close} />}
    </Menu>
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
      <p class="panel-note">What one request takes. How many did each side serve in its window? The counts are taken as exact.</p>
      {(["A", "B"] as const).map((side, i) => (
        <label key={side}><span class={`side-tag side-${side.toLowerCase()}`}>{side}</span>
          <input class="control" inputMode="numeric" pattern="[0-9]*" placeholder="requests" aria-label={`Requests of ${side}`} data-autofocus={i === 0} data-testid={`requests-${side.toLowerCase()}`}
            value={counts[i]} onInput={(e) => setCounts(counts.map((count, k) => (k === i ? e.currentTarget.value.trim() : count)))} />
        </label>
      ))}
      <button type="submit" class="control primary" disabled={!counts.every(isCount)}>Divide by requests</button>
    </form>
  );
}
