import { describe, expect, it } from "vitest";
import { chooseBlind, chooseSuspects, forecastText, formatLeaks, groupText, intervalText, keyOf, killedUrl, parseLeaks, rateText, scanText, suspectUrl, type Suspect } from "../src/data/leaks";
import { parseState } from "../src/data/url";

const frame = (name: string) => ({ name, module: "/usr/bin/api", file: "a.rs", line: 1, kind: "native" });
const suspect = (name: string, change: Partial<Suspect> = {}): Suspect => ({
  service: "api", version: "1.5", verdict: "leaks", evidence: "why", function: name, module: "/usr/bin/api", growth: 143e6, low: 118e6, high: 168e6, rate: 39700,
  old: 1.4e8, level: 9.9e9, reached: 171, freed: 0, query: '{service="api"}', from: 1764000000.5, to: 1764003590, stack: [frame("malloc"), frame(name)], frames_left_out: 0, truncated: null, ...change,
});

describe("leaks", () => {
  it("keeps the page's state in the address", () => {
    expect(formatLeaks(parseLeaks(""))).toBe("");
    for (const search of ["?window=86400", "?find=api", "?window=21600&find=a+b&open=x1"]) expect(formatLeaks(parseLeaks(search))).toBe(search);
    expect(parseLeaks("?window=7")).toEqual(parseLeaks(""));
  });

  it("knows a suspect by service, version and stack, whatever the numbers", () => {
    expect(keyOf(suspect("grow"))).toBe(keyOf(suspect("grow", { growth: 1, verdict: "too_early" })));
    expect(new Set([suspect("grow"), suspect("shrink"), suspect("grow", { version: "1.6" }), suspect("grow", { service: "b" })].map(keyOf)).size).toBe(4);
  });

  it("finds by service, version and function, and keeps the order", () => {
    const list = [suspect("grow"), suspect("cache", { service: "web" })];
    const found = (text: string) => chooseSuspects(list, text).map((s) => s.function).join();
    expect([found(""), found("GROW"), found("web"), found("1.5"), found("nowhere")]).toEqual(["grow,cache", "grow", "cache", "grow,cache", ""]);
  });

  it("finds what is not seen by service and version", () => {
    const blind = (service: string, version: string) => ({ service, version, sampled: false, scraped: false, reasons: [] });
    const found = (text: string) => chooseBlind([blind("api", "1.5"), blind("gate", "2")], text).map((b) => b.service).join();
    expect([found(""), found("GATE"), found("1.5"), found("nowhere")]).toEqual(["api,gate", "gate", "api", ""]);
  });

  it("says growth with its sign", () => {
    expect(forecastText(suspect("a"), 3600)).toMatch(/^\+136\sMiB in /);
    expect(intervalText(suspect("a", { low: -2097152, high: 3145728 }))).toMatch(/^−2(\.0+)?\sMiB to \+3(\.0+)?\sMiB$/);
    expect(rateText(suspect("a"))).toMatch(/^\+38\.8\sKiB\/s$/);
    const group = { service: "api", version: "1", from: 0, to: 3600, age: null, processes: 1, sampled: [] };
    expect(groupText(group)).toContain("too short for a verdict");
    expect(groupText({ ...group, age: 512, processes: 3.1 })).toMatch(/^3 processes, .*; old is /);
  });

  it("says what to run to find out what holds the blocks", () => {
    const group = { service: "api", version: "1.5", from: 0, to: 1, age: null, processes: 1, sampled: [{ host: "web-1", pid: "7" }] };
    expect(scanText(suspect("grow"), [{ ...group, version: "1.4", sampled: [] }, group])).toBe("flamekeeper heap scan 7  # on web-1");
    expect(scanText(suspect("grow"), [])).toBe("");
  });

  it("leads to the live heap in Explore", () => {
    const read = (url: string) => parseState(url.slice("/explore".length));
    expect(read(suspectUrl(suspect("a<b>&c")))).toMatchObject({ type: "inuse_space", query: '{service="api"}', from: "1764000000.5", to: "1764003590", search: "a<b>&c" });
    const killed = { service: "api", version: "1", host: "h", pid: "7", comm: "api", bytes: 1, query: '{ended="killed"}', from: 5, to: 6 };
    expect(read(killedUrl(killed) ?? "")).toMatchObject({ type: "inuse_space", query: '{ended="killed"}', from: "5", to: "6" });
    expect(killedUrl({ ...killed, from: null })).toBeNull();
  });
});
