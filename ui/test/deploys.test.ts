import { describe, expect, it } from "vitest";
import type { Deploy } from "../src/data/answers";
import { deployText, deployUrl, lastDeploys, labelRoom, markersOf, shortVersion } from "../src/data/deploys";
import { parseDiff } from "../src/data/diffState";

const NOW = 1_764_000_000;

function deploy(service: string, version: string, at: number, change: Partial<Deploy> = {}): Deploy {
  return { service, version, previous: "1", kind: "deploy", at, rolled_out: at + 60, last: NOW, hosts: [{ host: "a" }, { host: "b" }], overlaps: false, text: "", ...change };
}

describe("deploys", () => {
  const list = [deploy("api", "2", NOW - 900), deploy("worker", "7", NOW - 800), deploy("api", "1", NOW - 100, { kind: "rollback", previous: "2" }), deploy("api", "", NOW - 50, { kind: "mark", text: "flag on", hosts: [] })];

  it("the newest of each service is no mark", () => {
    expect([...lastDeploys(list)].map(([service, { version, kind }]) => `${service} ${version} ${kind}`)).toEqual(["api 1 rollback", "worker 7 deploy"]);
    expect([...lastDeploys([...list].reverse())].map(([, { at }]) => at)).toEqual([NOW - 100, NOW - 800]);
  });

  it("lead to the page of diffs", () => {
    expect(deployUrl(list[0])).toBe("/diff?deploy=api&version=2&previous=1");
    const { a, b } = parseDiff(deployUrl(list[3]).replace("/diff", ""));
    expect([a.to, b.from, a.query]).toEqual(["2025-11-24T15:59:10Z", "2025-11-24T15:59:10Z", '{service="api"}']);
  });

  it("are told in words", () => {
    expect(list.map(deployText)).toEqual(["deploy of api: 1 → 2 on 2 hosts", "deploy of worker: 1 → 7 on 2 hosts", "rollback of api: 2 → 1 on 2 hosts", "mark of api: flag on"]);
    expect([shortVersion("1.4.2"), shortVersion("0123456789abcdef0123")]).toEqual(["1.4.2", "0123456789abc…"]);
  });

  it("stand on a time axis, those that would overlap together, none outside", () => {
    const markers = markersOf([...list, deploy("old", "1", NOW - 2000)], NOW - 1000, NOW, 0.15);
    expect(markers.map(({ at, deploys }) => [at, deploys.map((d) => d.service).join(" ")])).toEqual([[0.1, "api worker"], [0.9, "api api"]]);
    expect(markersOf(list, NOW, NOW, 0.1)).toEqual([]);
    const rooms = labelRoom([0.25, 0.5, 0.875, 1].map((at) => ({ at })));
    expect(rooms.map(({ late, room }) => [late, room])).toEqual([[false, 0.25], [false, 0.1875], [true, 0.1875], [true, 0.125]]);
    expect(labelRoom([{ at: 0.5 }])).toEqual([{ late: false, room: 1 }]);
  });
});
