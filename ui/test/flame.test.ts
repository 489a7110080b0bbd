import { describe, expect, it } from "vitest";
import { decodeProfile } from "../src/data/decode";
import { between, cameraOf, carryOver, neighbour, pan, zoomAround } from "../src/flame/camera";
import { hitTest } from "../src/flame/hit";
import { layout, newRects, type Rects, type View } from "../src/flame/layout";
import { heaviestFirst, matchFrames, nextHit, parseSearch, search } from "../src/flame/search";
import { shortName, TextMeasure } from "../src/flame/text";
import { large, SMALL, treeOf } from "./tree";

const tree = treeOf(SMALL);
const view = (width: number, more: Partial<View> = {}): View => ({ camera: cameraOf(tree, 0), width, firstRow: 0, lastRow: 50, ...more });
const list = (r: Rects) => Array.from({ length: r.count }, (_, i) => ({ node: r.node[i], row: r.row[i], x: r.x[i], w: r.w[i], dust: r.dust[i] }));

describe("layout", () => {
  it("places each node under its caller, and what was cut as dust", () => {
    const rects = list(layout(tree, view(1000), newRects()));
    expect(rects.find((r) => r.node === 4 && !r.dust)).toEqual({ node: 4, row: 2, x: 600, w: 300, dust: 0 });
    expect(rects.filter((r) => r.dust)).toEqual([{ node: 2, row: 3, x: 500, w: 100, dust: 1 }]);
    expect(rects).toHaveLength(8);
  });

  it("ends at the first child narrower than a pixel, and joins the rest", () => {
    const wide = treeOf([{ name: "a", self: 900 }, ...Array.from({ length: 100 }, (_, i) => ({ name: `s${i}`, self: 1 }))]);
    const rects = list(layout(wide, { ...view(500), camera: cameraOf(wide, 0) }, newRects()));
    expect(rects.map((r) => [r.node, r.dust, Math.round(r.x), Math.round(r.w)])).toEqual([[0, 0, 0, 500], [0, 1, 450, 50], [1, 0, 0, 450]]);
  });

  it("gives only rows in view", () => {
    const rows = list(layout(tree, view(1000, { firstRow: 2, lastRow: 2 }), newRects())).map((r) => r.row);
    expect(new Set(rows)).toEqual(new Set([2]));
  });

  it("leaves out what the camera does not see", () => {
    const nodes = list(layout(tree, view(1000, { camera: { lo: 60, hi: 90 } }), newRects())).filter((r) => !r.dust).map((r) => r.node);
    expect(nodes.sort()).toEqual([0, 1, 4, 5]);
  });

  it("is bounded by pixels, whatever the number of nodes, and its storage grows", () => {
    const { tree: big } = decodeProfile(large(300_000));
    const rects = layout(big, { camera: cameraOf(big, 0), width: 1900, firstRow: 0, lastRow: 40 }, newRects(4));
    expect(rects.count).toBeGreaterThan(100);
    expect(rects.count).toBeLessThan(2 * 41 * 1900);
    for (let i = 0; i < rects.count; i++) if (!rects.dust[i] && i > 0) expect(rects.w[i]).toBeGreaterThanOrEqual(1);
  });
});

describe("hit test", () => {
  it("agrees with the layout in the middle of every rectangle", () => {
    const { tree: big } = decodeProfile(large(20_000));
    const camera = cameraOf(big, 0);
    const rects = layout(big, { camera, width: 1200, firstRow: 0, lastRow: 60 }, newRects());
    for (let i = 0; i < rects.count; i++) {
      const hit = hitTest(big, camera, 1200, rects.x[i] + rects.w[i] / 2, rects.row[i]);
      expect(hit).toEqual({ node: rects.node[i], dust: rects.dust[i] === 1 });
    }
  });

  it("finds nothing above self time, above dust and outside", () => {
    const at = (x: number, row: number) => hitTest(tree, cameraOf(tree, 0), 1000, x, row);
    expect(at(990, 2)).toBeNull();
    expect(at(550, 3)).toEqual({ node: 2, dust: true });
    expect(at(550, 4)).toBeNull();
    expect(at(-1, 0)).toBeNull();
    expect(at(500, -1)).toBeNull();
  });
});

describe("search", () => {
  const find = (text: string, root = 0) => {
    const matcher = parseSearch(text);
    if (typeof matcher !== "function") throw new Error("no matcher");
    return search(tree, matchFrames(tree.frames, matcher), root);
  };

  it("counts a match inside a match once", () => {
    const found = find("main");
    expect([...found.hits]).toEqual([1]);
    expect(found.value).toBe(100);
  });

  it("takes literals regardless of case, and regular expressions between slashes", () => {
    expect(find("LEX").value).toBe(50);
    expect(find("/^(lex|gc)$/").value).toBe(55);
    expect([...find("/^GC$/i").hits]).toEqual([6]);
    expect(find("a.b").value).toBe(0);
  });

  it("counts within the zoom", () => {
    expect(find("main", 4).value).toBe(20);
  });

  it("tells what the server cut outside of matches", () => {
    expect(find("eval").unseen).toBe(10);
    expect(find("parse").unseen).toBe(0);
  });

  it("says what is wrong with an expression, and takes an unfinished one for a literal", () => {
    expect(parseSearch("/(/")).toHaveProperty("error");
    expect(parseSearch("")).toBeNull();
    expect(parseSearch("/")).toBeNull();
    expect(typeof parseSearch("/a")).toBe("function");
  });

  it("goes through the hits from the heaviest on, both ways and round", () => {
    const order = heaviestFirst(tree, Int32Array.of(3, 4, 6));
    expect([...order]).toEqual([3, 4, 6]);
    expect([...heaviestFirst(tree, Int32Array.of(6, 2, 5))]).toEqual([2, 5, 6]);
    expect([-1, 3, 4, 6].map((n) => nextHit(order, n, false))).toEqual([3, 4, 6, 3]);
    expect([-1, 3, 4, 6].map((n) => nextHit(order, n, true))).toEqual([6, 6, 3, 4]);
    expect(nextHit(new Int32Array(0), 0, false)).toBe(-1);
  });
});

describe("camera", () => {
  const bounds = { lo: 0, hi: 100 };
  it("zooms around a point that stays in place, and never leaves the bounds", () => {
    const near = zoomAround(bounds, bounds, 0.25, 0.5);
    expect(near).toEqual({ lo: 12.5, hi: 62.5 });
    expect(zoomAround(near, bounds, 0.9, 100)).toEqual(bounds);
    expect(pan(near, bounds, 1000)).toEqual({ lo: 50, hi: 100 });
  });
  it("moves from one to the other", () => {
    const to = { lo: 40, hi: 41 };
    expect(between(bounds, to, 1)).toBe(to);
    const mid = between(bounds, to, 0.5);
    expect(mid.hi - mid.lo).toBeCloseTo(10);
    expect(carryOver({ lo: 5, hi: 10 }, { lo: 0, hi: 10 }, { lo: 100, hi: 300 })).toEqual({ lo: 200, hi: 300 });
  });
  it("finds parents, heaviest children and siblings", () => {
    expect([neighbour(tree, 1, "child"), neighbour(tree, 2, "next"), neighbour(tree, 6, "previous"), neighbour(tree, 4, "parent")]).toEqual([2, 4, 4, 1]);
    expect([neighbour(tree, 6, "child"), neighbour(tree, 6, "next"), neighbour(tree, 2, "previous"), neighbour(tree, 0, "parent"), neighbour(tree, 0, "next")]).toEqual([-1, -1, -1, -1, -1]);
  });
});

describe("labels", () => {
  it("shortens names to what tells them apart", () => {
    expect(shortName("std::map<std::string, int>::find(std::string const&)")).toBe("map::find");
    expect(shortName("<alloc::vec::Vec<T> as core::iter::Extend<T>>::extend")).toBe("extend");
    expect(shortName("core::ops::function::FnOnce::call_once")).toBe("FnOnce::call_once");
    expect(shortName("main")).toBe("main");
    expect(shortName("A::operator->")).toBe("A::operator->");
  });
  it("clips to the room there is", () => {
    const measure = new TextMeasure((text) => text.length * 10);
    expect(measure.fit("abcdef", 60)).toBe("abcdef");
    expect(measure.fit("abcdef", 59)).toBe("abcd…");
    expect(measure.fit("abcdef", 20)).toBe("");
    expect(measure.fits("äö", 20)).toBe(true);
  });
});
