/** Colours of a diff: orange for more, blue for less, told apart by people who see few colours, and grey for what chance explains. */

import { Mark } from "../data/diff";
import { oklch } from "./palette";

/** The fill of what is said of a node, and how strongly (0 to 2). */
export type DiffFill = (mark: Mark, strength: number) => string;

const ORANGE = 58;
const BLUE = 250;

export function diffFill(dark: boolean): DiffFill {
  const scale = (hue: number, chroma: number) => [0, 1, 2].map((strength) => {
    const l = dark ? 0.42 + strength * 0.07 : 0.885 - strength * 0.07;
    return oklch(l, (dark ? 0.055 : 0.06) + strength * chroma, hue);
  });
  const more = scale(ORANGE, dark ? 0.026 : 0.036);
  const less = scale(BLUE, dark ? 0.034 : 0.03);
  const chance = dark ? "#303237" : "#e8e5e0";
  const moved = dark ? oklch(0.42, 0.05, 310) : oklch(0.87, 0.045, 310);
  return (mark, strength) => (mark === Mark.More ? more[strength] : mark === Mark.Less ? less[strength] : mark === Mark.Moved ? moved : chance);
}
