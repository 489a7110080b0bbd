/** Colours of functions: stable by name, equal in lightness, so that no module shouts. */

import type { ColorMode } from "../data/url";
import { groupOf, type Group } from "./groups";

/** What the renderer paints with. */
export interface Palette {
  readonly background: string;
  readonly text: string;
  readonly faintText: string;
  readonly dust: string;
  readonly match: string;
  readonly matchText: string;
  readonly outline: string;
  readonly selection: string;
  /** The fill of a function. */
  readonly fill: (name: string, module: string, kind: string) => string;
  /** The colour of a group, for a legend: that of its functions in the middle. */
  readonly swatch: (group: Group) => string;
}

// Hues that stay apart from each other at equal lightness, in OKLCH degrees, the warm ones first.
const HUES = [48, 150, 262, 82, 310, 200, 24, 285, 125, 230, 345, 172];

/** FNV-1a: the same name has the same colour on every page and every day. */
export function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return (h ^ (h >>> 15)) >>> 0;
}

/** OKLCH to `#rrggbb`, clipped to sRGB (Björn Ottosson, "A perceptual color space for image processing"). */
export function oklch(l: number, c: number, hue: number): string {
  const a = c * Math.cos((hue * Math.PI) / 180);
  const b = c * Math.sin((hue * Math.PI) / 180);
  const L = (l + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const M = (l - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const S = (l - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const rgb = [
    4.0767416621 * L - 3.3077115913 * M + 0.2309699292 * S,
    -1.2684380046 * L + 2.6097574011 * M - 0.3413193965 * S,
    -0.0041960863 * L - 0.7034186147 * M + 1.707614701 * S,
  ];
  return `#${rgb.map((x) => channel(x).toString(16).padStart(2, "0")).join("")}`;
}

function channel(linear: number): number {
  const x = Math.min(1, Math.max(0, linear));
  const encoded = x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055;
  return Math.round(encoded * 255);
}

/** The hue of a name. */
export function hueOf(name: string): number {
  return HUES[hash(name) % HUES.length];
}

/**
 * Colours for the series of a chart. A label keeps its hue from answer to answer where it can; two labels of one
 * hue are told apart by giving the later one in alphabetical order the next free hue.
 */
export function seriesColors(labels: readonly string[], dark: boolean): Map<string, string> {
  const taken = new Set<number>();
  const colors = new Map<string, string>();
  for (const label of [...labels].sort()) {
    let at = hash(label) % HUES.length;
    for (let tries = 0; taken.has(at) && tries < HUES.length; tries++) at = (at + 1) % HUES.length;
    taken.add(at);
    colors.set(label, dark ? oklch(0.6, 0.095, HUES[at]) : oklch(0.75, 0.1, HUES[at]));
  }
  return colors;
}

// Functions of one group differ a little in lightness, so that neighbours are told apart.
const SHADES = 5;

/** The palette of a mode for one of the themes. */
export function makePalette(mode: ColorMode, dark: boolean): Palette {
  const fills = new Map<string, string>();
  const paint = (name: string, module: string, kind: string): string => {
    if (kind === "root") return dark ? "#2a2c31" : "#e9e7e3";
    return groupColor(groupOf(mode, name, module, kind), dark, (hash(name) % SHADES) - 2);
  };
  return {
    background: dark ? "#17181b" : "#ffffff",
    text: dark ? "#f1efeb" : "#1f1d1a",
    faintText: dark ? "#a3a19c" : "#6d6a64",
    dust: dark ? "#33353b" : "#dcd9d3",
    match: dark ? "#f0b429" : "#ffc83d",
    matchText: "#241a02",
    outline: dark ? "#ffffff" : "#1f1d1a",
    selection: dark ? "#ff8a4c" : "#c8420c",
    fill: (name, module, kind) => {
      const key = `${kind}\n${module}\n${mode === "module" ? hash(name) % SHADES : name}`;
      let fill = fills.get(key);
      if (fill === undefined) fills.set(key, (fill = paint(name, module, kind)));
      return fill;
    },
    swatch: (group) => groupColor(group, dark, 0),
  };
}

function groupColor({ key, hue }: Group, dark: boolean, shade: number): string {
  const l = (dark ? 0.45 : 0.84) + shade * (dark ? 0.013 : 0.011);
  const c = dark ? 0.074 : 0.078;
  if (hue === "kernel") return oklch(l, dark ? 0.03 : 0.028, 255);
  if (hue === "none") return oklch(l, 0.012, 80);
  const degrees = hue === "name" ? hueOf(key) : hue;
  // Pinks look stronger than other hues of the same chroma.
  return oklch(l, degrees >= 300 ? c * 0.72 : c, degrees);
}
