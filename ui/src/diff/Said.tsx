import { describeChoice, describeStatistics, formatChange, formatRatio, unitOf } from "../data/diffText";
import { ratio } from "../data/diff";
import { diff, lacking, stale, why } from "./store";

/** What was chosen, what changed as a whole, and what size of change would have been seen. */
export function Said() {
  const now = diff.value;
  if (!now || stale.value) return <p class="said" data-testid="said">{"\u00a0"}</p>;
  if (lacking.value) return <p class="said" data-testid="said">{sentence(describeChoice(now, why.value))}</p>;
  const all = now.b.total - now.a.total;
  return (
    <p class="said" data-testid="said">
      <span>{sentence(describeChoice(now, why.value))}</span>{" "}
      {now.unit !== "share" && <span>In all <strong class="number">{formatChange(now, all)}</strong> {unitOf(now)} ({formatRatio(ratio(now.a.total, now.b.total))}). </span>}
      {describeStatistics(now).map((text) => <span key={text}>{text} </span>)}
      {now.notes.map((note) => <span key={note} class="quiet">{note} </span>)}
    </p>
  );
}

const sentence = (text: string) => (text === "" ? "" : `${text[0].toUpperCase()}${text.slice(1)}.`);
