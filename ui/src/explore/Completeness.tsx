import type { ComponentChildren } from "preact";
import type { Completeness as Facts } from "../data/answers";
import { formatCount, formatShare } from "../data/units";
import { shown } from "./store";

/** What of the truth the picture holds: samples, and what is missing from them, each explained. */
export function Completeness() {
  const facts = shown.value?.profile.completeness;
  // Memory, live heaps: what is said of samples of CPU time does not hold for them.
  if (facts?.samples === 0 && (shown.value?.profile.tree.total[0] ?? 0) > 0) return <div class="completeness" data-testid="completeness"><span class="fact">This type does not count samples.</span></div>;
  if (!facts) return <div class="completeness" data-testid="completeness" />;
  const taken = facts.samples + facts.lost_total;
  const share = (n: number, of: number) => (n > 0 && of > 0 ? ` · ${formatShare(n / of)}` : "");
  return (
    <div class="completeness" data-testid="completeness" aria-label="Completeness">
      <Fact label="samples" value={formatCount(facts.samples)}>
        Samples behind this picture. The fewer there are, the rougher the shares: a function with n samples is known to about 1/√n
        {facts.samples > 0 && <>; with {formatCount(facts.samples)} in all, a share of 10 % is known to ±{formatShare(Math.sqrt((0.1 * 0.9) / facts.samples) * 2)}</>}.
      </Fact>
      <Fact label="lost" value={formatCount(facts.lost_total) + share(facts.lost_total, taken)} bad={facts.lost_total > 0.01 * taken}>
        Samples taken on the selected hosts in this window that never became part of it. <Reasons of={facts.lost} none="None were." />
      </Fact>
      <Fact label="truncated" value={formatCount(facts.truncated) + share(facts.truncated, facts.samples)} bad={facts.truncated > 0.05 * facts.samples}>
        Samples whose stack ends before the thread's start: their outermost callers are missing. <Reasons of={facts.truncated_reasons} none="None are." />
      </Fact>
      <Fact label="unnamed" value={formatCount(facts.unnamed) + share(facts.unnamed, facts.samples)} bad={facts.unnamed > 0.1 * facts.samples}>
        <Unnamed facts={facts} />
      </Fact>
      <Caveats of={facts.caveats} />
    </div>
  );
}

/** Shown only where there is something to say. */
function Caveats({ of }: { of: Record<string, number> | undefined }) {
  const most = Math.max(0, ...Object.values(of ?? {}));
  if (most === 0) return null;
  return (
    <Fact label="with a caveat" value={formatCount(most)}>
      Samples of the selected hosts that are kept and are less than what was configured. <Reasons of={of} none="None are." />
    </Fact>
  );
}

function Unnamed({ facts }: { facts: Facts }) {
  return (
    <>
      Samples in a function whose name is not known, shown as module+0xaddress. Symbols that arrive later name them afterwards.
      {facts.unnamed_frames !== undefined && <> Of the distinct functions here, {formatShare(facts.unnamed_frames)} have no name.</>} <Reasons of={facts.unnamed_reasons} none="All have one." />
    </>
  );
}

function Fact({ label, value, bad, children }: { label: string; value: string; bad?: boolean; children: ComponentChildren }) {
  return (
    <span class={`fact ${bad ? "bad" : ""}`} tabIndex={0}>
      <span class="number">{value}</span> {label}
      <span class="tip" role="tooltip">{children}</span>
    </span>
  );
}

function Reasons({ of, none }: { of: Record<string, number> | undefined; none: string }) {
  const entries = Object.entries(of ?? {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  if (entries.length === 0) return <>{none}</>;
  return <span class="reasons">{entries.map(([reason, n]) => <span key={reason}><span class="number">{formatCount(n)}</span> {reason.replaceAll("_", " ")}</span>)}</span>;
}
