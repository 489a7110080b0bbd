import { computed, type ReadonlySignal } from "@preact/signals";
import { formatShare, formatValue } from "../data/units";
import { groupFrames, sumGroups } from "../flame/groups";
import type { Palette } from "../flame/palette";
import { cutInView, shown, state } from "./store";

// More do not fit on the line.
const MOST = 12;

const color = computed(() => state.value.color);
const frames = computed(() => shown.value?.profile.tree.frames ?? null);
const grouping = computed(() => (frames.value ? groupFrames(frames.value, color.value) : null));
const sums = computed(() => (shown.value && grouping.value ? sumGroups(shown.value.profile.tree, grouping.value, shown.value.node) : []));

/** What the colours mean, and how much of the view runs in each: functions themselves, without what they call. */
export function Legend({ palette }: { palette: ReadonlySignal<Palette> }) {
  const view = shown.value;
  if (!view) return null;
  const total = view.profile.tree.total[view.node] || 1;
  return (
    <ul class="flame-legend" aria-label="Colours, with the share of the view that runs in each" data-testid="flame-legend">
      {sums.value.slice(0, MOST).map(({ group, value }) => (
        <li key={group.key} title={`${group.label}: ${formatValue(value, view.profile.unit)} in its own functions`}>
          <span class="swatch" style={{ background: palette.value.swatch(group) }} />
          <span>{group.label}</span>
          <span class="number">{formatShare(value / total)}</span>
        </li>
      ))}
      {cutInView.value > total * 0.0005 && (
        <li title="Functions that are too narrow here for the answer; zooming in tells them apart.">
          <span class="swatch" style={{ background: palette.value.dust }} />
          <span>narrower</span>
          <span class="number">{formatShare(cutInView.value / total)}</span>
        </li>
      )}
    </ul>
  );
}
