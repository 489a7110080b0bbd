import type { CallTree } from "../data/decode";
import type { Rects } from "./layout";
import type { Palette } from "./palette";
import { shortName, type TextMeasure } from "./text";

/** Height of a row in CSS pixels, the gap of one pixel included. */
export const ROW = 20;
const GAP = 1;
const PADDING = 5;
// A narrower rectangle has no label.
const MIN_LABEL = 22;
export const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif';

/** Everything a picture depends on. */
export interface Scene {
  readonly tree: CallTree;
  readonly rects: Rects;
  readonly palette: Palette;
  /** The fill of a node, where it is not its function's; a match keeps it. */
  readonly fill: ((node: number) => string) | null;
  readonly width: number;
  /** Top of a row in CSS pixels. */
  readonly top: (row: number) => number;
  /** By frame: 1 where the search matches; null without a search. */
  readonly matching: Uint8Array | null;
  readonly zoom: number;
}

/** Short names, made once per function. */
const shortNames = new Map<string, string>();

/** Paints the rectangles, then the labels: two passes, so that the font is set once. */
export function paint(ctx: CanvasRenderingContext2D, scene: Scene, measure: TextMeasure): void {
  paintBoxes(ctx, scene);
  paintLabels(ctx, scene, measure);
}

function isCaller(tree: CallTree, node: number, zoom: number): boolean {
  return node < zoom && zoom < tree.end[node];
}

function paintBoxes(ctx: CanvasRenderingContext2D, { tree, rects, palette, fill: ofNode, width, top, matching, zoom }: Scene): void {
  const { frames } = tree;
  let style = "";
  for (let i = 0; i < rects.count; i++) {
    const node = rects.node[i];
    const frame = tree.frame[node];
    const x0 = Math.max(0, rects.x[i]);
    const x1 = Math.min(width, rects.x[i] + rects.w[i]);
    const dust = rects.dust[i] === 1;
    const matches = matching !== null && matching[frame] === 1;
    const fill = dust ? palette.dust : ofNode ? ofNode(node) : matches ? palette.match : palette.fill(frames.name[frame], frames.module[frame], frames.kind[frame]);
    if (fill !== style) ctx.fillStyle = style = fill;
    const faded = (matching !== null && !matches) || isCaller(tree, node, zoom);
    if (faded) ctx.globalAlpha = 0.4;
    ctx.fillRect(x0, top(rects.row[i]), Math.max(0.6, x1 - x0 - (x1 - x0 > 3 ? GAP : 0)), ROW - GAP);
    if (faded) ctx.globalAlpha = 1;
  }
}

function paintLabels(ctx: CanvasRenderingContext2D, { tree, rects, palette, fill, width, top, matching, zoom }: Scene, measure: TextMeasure): void {
  ctx.textBaseline = "middle";
  let style = "";
  for (let i = 0; i < rects.count; i++) {
    if (rects.dust[i] === 1 || rects.w[i] < MIN_LABEL) continue;
    const node = rects.node[i];
    const x0 = Math.max(0, rects.x[i]);
    const room = Math.min(width, rects.x[i] + rects.w[i]) - x0 - 2 * PADDING;
    if (room < MIN_LABEL - 2 * PADDING) continue;
    const text = label(tree.frames.name[tree.frame[node]], node, room, measure);
    if (text === "") continue;
    const matches = matching !== null && matching[tree.frame[node]] === 1;
    const faint = (matching !== null && !matches) || isCaller(tree, node, zoom);
    const color = matches && !fill ? palette.matchText : faint ? palette.faintText : palette.text;
    if (color !== style) ctx.fillStyle = style = color;
    ctx.fillText(text, x0 + PADDING, top(rects.row[i]) + (ROW - GAP) / 2 + 0.5);
  }
}

function label(name: string, node: number, room: number, measure: TextMeasure): string {
  if (node === 0) return measure.fit("all", room);
  if (measure.fits(name, room)) return name;
  let short = shortNames.get(name);
  if (short === undefined) shortNames.set(name, (short = shortName(name)));
  return measure.fit(short, room);
}
