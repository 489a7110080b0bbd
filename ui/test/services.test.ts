import { describe, expect, it } from "vitest";
import type { TimeseriesAnswer } from "../src/data/answers";
import { areaPath, chooseServices, exploreUrl, formatServices, isOfExplore, parseServices, serviceViews } from "../src/data/services";
import { growthText, memoryUrl, resident } from "../src/data/memory";
import { parseState } from "../src/data/url";

const row = (service: string, value: number, versions: string[] = []) => ({ service, versions, hosts: 2, value, unit: "nanoseconds", samples: 9 });
const rows = [row("api", 90e9, ["1.4", "1.5"]), row("worker", 10e9, ["2024-a"]), row("", 0)];
const series = { unit: "nanoseconds", step: 10, from: 0, points: 2, series: [{ label: "api", values: [10e9, 20e9] }], rest: [0, 0] } as unknown as TimeseriesAnswer;

describe("services", () => {
  it("keeps the page's state in the address", () => {
    expect(formatServices(parseServices(""))).toBe("");
    for (const search of ["?window=3600", "?find=api", "?sort=cores", "?window=86400&find=a+b&sort=-service"]) expect(formatServices(parseServices(search))).toBe(search);
    expect(parseServices("?window=7&sort=-moon")).toEqual(parseServices(""));
  });

  it("works out cores, shares and trends", () => {
    const [api, worker, none] = serviceViews(rows, series, 100);
    expect([api.cores, api.share, api.trend]).toEqual([0.9, 0.9, [1, 2]]);
    expect([worker.cores, worker.trend, none.share]).toEqual([0.1, null, 0]);
    expect(serviceViews([row("idle", 0)], null, 100)[0].share).toBe(0);
  });

  it("finds by name and version, and sorts by any column, equal ones by name", () => {
    const chosen = (search: string) => chooseServices(serviceViews(rows, series, 100), parseServices(search)).map((v) => v.service).join();
    expect([chosen(""), chosen("?sort=cores"), chosen("?sort=service"), chosen("?sort=-versions"), chosen("?sort=hosts")]).toEqual(["api,worker,", ",worker,api", ",api,worker", "api,worker,", ",api,worker"]);
    expect([chosen("?find=WORK"), chosen("?find=1.5"), chosen("?find=nowhere")]).toEqual(["worker", "api", ""]);
  });

  it("leads to Explore in the same window, whatever the name holds", () => {
    const read = (url: string) => parseState(url.slice("/explore".length));
    expect(read(exploreUrl('a"b&c', "-1h"))).toMatchObject({ query: '{service="a\\"b&c"}', from: "-1h", to: "now" });
    expect(exploreUrl("api", "-15m")).not.toContain("from");
  });

  it("knows the addresses that Explore had at the root", () => {
    expect(["", "?window=3600&find=a&sort=service", "?query=%7B%7D", "?from=-1h", "?service=api&path=a"].map(isOfExplore)).toEqual([false, false, true, true, true]);
  });

  it("draws a trend as steps", () => {
    expect(areaPath([1, 2], 100, 20, 2)).toBe("M0 20V10H50V0H100V20Z");
    expect([areaPath([], 100, 20, 1), areaPath([0, 0], 100, 20, 0)]).toEqual(["", ""]);
  });

  it("says what memory grows, and until when it lasts", () => {
    const memory = { service: "api", verdict: "grows" as const, evidence: "", level: 0, slope: 1048576, low: 0, high: 0, limit: { of: "host", bytes: 0, left: 0, seconds: 7200 }, levels: { memory_rss: [1, 5, 0] } };
    expect([resident(memory), growthText(memory)]).toEqual([5, "+1.00\u00a0MiB/s, the host is full in 2 h"]);
    expect(growthText({ ...memory, limit: null })).toBe("+1.00\u00a0MiB/s");
    expect([growthText({ ...memory, verdict: "flat" }), resident({ ...memory, levels: {} })]).toEqual(["", 0]);
    expect(parseState(memoryUrl("api", "-1h").slice("/explore".length))).toMatchObject({ type: "memory_anon", from: "-1h" });
  });
});
