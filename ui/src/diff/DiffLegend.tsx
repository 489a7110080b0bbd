import { isUntested, Mark } from "../data/diff";
import { colors, diff, palette } from "./store";

const STEPS = [0, 1, 2];
const SIZES = "the lightest below a quarter, the strongest twofold and more";

/** What the colours mean. */
export function DiffLegend() {
  const color = colors.value;
  const now = diff.value;
  const scale = (mark: Mark) => <span class="swatches">{STEPS.map((s) => <span key={s} class="swatch" style={{ background: color(mark, s) }} />)}</span>;
  return (
    <ul class="flame-legend" aria-label="Colours" data-testid="diff-legend">
      <li title={`Less in B: ${SIZES}`}>{scale(Mark.Less)}<span>less in B</span></li>
      {now && !isUntested(now) && <li title="Sampling and the spread between hosts and times explain it"><span class="swatch" style={{ background: color(Mark.Chance, 0) }} /><span>within chance</span></li>}
      <li title={`More in B: ${SIZES}`}>{scale(Mark.More)}<span>more in B</span></li>
      {now?.functions.some((f) => f.verdict === "moved") && <li title="A has it in another module, or under another name; nothing else changed"><span class="swatch" style={{ background: color(Mark.Moved, 0) }} /><span>moved</span></li>}
      <li title="Functions narrower than a pixel, together"><span class="swatch" style={{ background: palette.value.dust }} /><span>narrower</span></li>
    </ul>
  );
}
