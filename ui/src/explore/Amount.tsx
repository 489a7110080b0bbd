import { formatShare, formatValue } from "../data/units";

/** A bar from 0 to 1. */
export function Meter({ share }: { share: number }) {
  return <span class="meter" aria-hidden="true"><span style={{ width: `${Math.min(100, Math.max(0, share * 100))}%` }} /></span>;
}

/** A value and its share, as a cell of a table. */
export function Amount({ value, all, unit, id }: { value: number; all: number; unit: string; id: string }) {
  return (
    <span class={`cell-${id} amount`} role="gridcell">
      <Meter share={value / (all || 1)} />
      <span class="number">{formatValue(value, unit)}</span>
      <span class="number share">{formatShare(value / (all || 1))}</span>
    </span>
  );
}
