import type { DiffSide } from "../data/answers";
import { formatIn, unitOf } from "../data/diffText";
import { formatRelative } from "../data/time";
import { formatCount } from "../data/units";
import { Menu } from "../explore/Menu";
import { RangePanel, rangeText } from "../explore/Range";
import { SelectorField } from "../explore/SelectorField";
import { exploreSide } from "./menu";
import { choose, diff, stale, state } from "./store";

const TITLES = { a: "before", b: "after" } as const;

/** Exchanges before and after. */
export function swap(): void {
  const { a, b } = state.peek();
  choose({ a: b, b: a });
}

/** What A and B select, and when. */
export function Sides() {
  return (
    <section class="sides" aria-label="The two sides">
      <OneSide name="a" />
      <button type="button" class="control quiet-control" title="Exchange A and B  x" aria-label="Exchange A and B" onClick={swap}>⇄</button>
      <OneSide name="b" />
    </section>
  );
}

function OneSide({ name }: { name: "a" | "b" }) {
  const side = state.value[name];
  const answered = stale.value ? null : diff.value?.[name] ?? null;
  const set = (change: Partial<typeof side>) => choose({ [name]: { ...side, ...change } });
  const tag = name.toUpperCase();
  return (
    <div class="side" data-testid={`side-${name}`}>
      <span class={`side-tag side-${name}`}>{tag}</span>
      <span class="quiet">{TITLES[name]}</span>
      <SelectorField label={`Label selector of ${tag}`} query={side.query} onChange={(query) => set({ query })} />
      <Menu title={`Choose the time range of ${tag}`} class={name === "b" ? "right" : ""} testId={`range-${name}`} label={<span class="range-text">{rangeText(side, answered)}</span>}>
        {(close) => <div class="range-panel"><RangePanel from={side.from} to={side.to} close={close} onLast={(seconds) => set({ from: formatRelative(seconds), to: "now" })} onTimes={(from, to) => set({ from, to })} /></div>}
      </Menu>
      <Facts side={answered} />
      <a class="side-link" href={exploreSide(name)} title={`The flamegraph of ${tag} alone`}>Explore</a>
    </div>
  );
}

function Facts({ side }: { side: DiffSide | null }) {
  const of = diff.value;
  if (!side || !of) return <span class="side-facts" />;
  return (
    <span class="side-facts number" title={`${formatCount(side.samples)} samples in ${formatCount(side.host_seconds)} seconds of hosts`}>
      {of.unit !== "share" && <><strong>{formatIn(of, side.total)}</strong> {unitOf(of)} · </>}{formatCount(side.samples)} samples · {formatCount(side.hosts)} {side.hosts === 1 ? "host" : "hosts"}
    </span>
  );
}
