import { describe, expect, it } from "vitest";
import { ceiling, cellAt, describe as say, pixels, wholeWindows } from "../src/data/heatmap";

// Two seconds: a burst at the end of the first one.
const MAP = { from: 1000, seconds: 2, rows: 10, samples: 9, values: [1, 0, 0, 0, 0, 0, 0, 0, 0, 8, ...Array(10).fill(0)] };

describe("the subsecond heat map", () => {
  it("grows a selection to whole stored windows, one at least", () => {
    expect(wholeWindows(1003.2, 1004)).toEqual({ from: 1000, to: 1010 });
    expect(wholeWindows(1000, 1010)).toEqual({ from: 1000, to: 1010 });
    expect(wholeWindows(1009.5, 1010.5)).toEqual({ from: 1000, to: 1020 });
    expect(wholeWindows(1010, 1010)).toEqual({ from: 1010, to: 1020 });
  });
  it("knows the cell under the mouse", () => {
    expect(cellAt(MAP, 1000.7, 0.95)).toEqual({ time: 1000.9, samples: 8 });
    expect(cellAt(MAP, 1001.2, 0)).toEqual({ time: 1001, samples: 0 });
    expect([cellAt(MAP, 999, 0.5), cellAt(MAP, 1002, 0.5), cellAt(MAP, 1001, 1)]).toEqual([null, null, null]);
  });
  it("has a pixel for each cell, later ones further up, empty ones transparent", () => {
    const out = pixels(MAP, [[0, 0, 0], [80, 160, 240]]);
    expect(out.length).toBe(2 * 10 * 4);
    expect([...out.slice(0, 4)]).toEqual([80, 160, 240, 255]);
    expect([...out.slice(4, 8)]).toEqual([0, 0, 0, 0]);
    expect([...out.slice(9 * 2 * 4, 9 * 2 * 4 + 4)]).toEqual([10, 20, 30, 255]);
  });
  it("is not paled by one odd moment", () => {
    expect(ceiling([...Array(1000).fill(4), 900])).toBe(4);
    expect(ceiling([0, 0])).toBe(1);
    expect(ceiling([3])).toBe(3);
  });
  it("is told in a sentence", () => {
    expect(say(MAP, String)).toBe("9 samples in 2 seconds; the busiest is 1000 with 9, 1 is without any.");
    expect(say({ ...MAP, samples: 0 }, String)).toBe("No samples.");
  });
});
