import { describe, expect, it } from "vitest";
import { byteTicks, clock, timeTicks, valueTicks } from "../src/chart/ticks";

describe("axes", () => {
  it("have values by steps of 1, 2 or 5", () => {
    expect(valueTicks(2.2, 4)).toEqual([0, 1, 2]);
    expect(valueTicks(100, 4)).toEqual([0, 50, 100]);
    expect(valueTicks(100, 5)).toEqual([0, 20, 40, 60, 80, 100]);
    expect(valueTicks(0.0035, 4).map((v) => v.toFixed(3))).toEqual(["0.000", "0.001", "0.002", "0.003"]);
    expect([valueTicks(0, 4), valueTicks(Number.NaN, 4)]).toEqual([[0], [0]]);
  });
  it("have bytes by steps that are round in their binary unit", () => {
    const [KIB, MIB, GIB] = [1024, 1024 ** 2, 1024 ** 3];
    expect(byteTicks(300 * MIB, 4)).toEqual([0, 100 * MIB, 200 * MIB, 300 * MIB]);
    expect(byteTicks(4.4 * GIB, 4)).toEqual([0, 2 * GIB, 4 * GIB]);
    expect(byteTicks(2.9 * GIB, 4)).toEqual([0, GIB, 2 * GIB]);
    expect(byteTicks(3 * KIB, 4)).toEqual([0, KIB, 2 * KIB, 3 * KIB]);
    expect(byteTicks(3, 4)).toEqual([0, 1, 2, 3]);
    expect([byteTicks(0, 4), byteTicks(Number.NaN, 4)]).toEqual([[0], [0]]);
  });
  it("have round times, as many as there is room for", () => {
    const ticks = timeTicks(1764000007, 1764000907, 15);
    expect(ticks.length).toBeLessThanOrEqual(16);
    for (const t of ticks) expect(t % 60).toBe(0);
    for (const span of [3, 90, 4000, 86400, 9e6, 1e9]) expect(timeTicks(1764000007, 1764000007 + span, 12).length).toBeLessThanOrEqual(13);
  });
  it("stand on local midnights in long windows, and say the day there", () => {
    const midnight = new Date(2026, 10, 24).getTime() / 1000;
    const ticks = timeTicks(midnight - 7200, midnight + 86400 * 5, 6);
    expect(ticks[0]).toBe(midnight);
    expect([clock(midnight, 5 * 86400), clock(midnight + 90, 600), clock(midnight + 120, 600)]).toEqual(["24 Nov", "00:01:30", "00:02"]);
  });
});
