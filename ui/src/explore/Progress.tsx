import { formatCount } from "../data/units";

/** A thin line under the bar while anything loads, with what has arrived. */
export function Progress({ loading, bytes }: { loading: boolean; bytes: number }) {
  return <div class={`progress ${loading ? "on" : ""}`} role="progressbar" aria-label={loading ? `Loading, ${formatCount(bytes)} bytes so far` : "Loaded"} />;
}
