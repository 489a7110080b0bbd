import { describe, expect, it } from "vitest";
import { formatHosts, hostView, parseHosts, sortHosts, type HostRow } from "../src/data/hosts";

const row: HostRow = {
  host: "web-1", agent_version: "0.1.0", last_seen: 990, samples: 900, lost: { ring_full: 100 }, caveats: { lower_frequency: 40 }, truncated: 90,
  figures: {
    cpu_microcores: 2500, cpu_ceiling_microcores: 5000, memory_bytes: 64 << 20, memory_ceiling_bytes: 128 << 20,
    frequency_millihertz: 9500, configured_millihertz: 19000, host_memory_bytes: 8 << 20, host_available_bytes: 2 << 20, frequency_steps: 1, uploads_paused: 1, cache_steps: 0,
  },
};

describe("hosts", () => {
  it("keeps the page's state in the address", () => {
    expect(formatHosts(parseHosts(""))).toBe("");
    for (const search of ["?window=3600", "?sort=-cpu", "?window=86400&sort=lag", "?sort=-host"]) expect(formatHosts(parseHosts(search))).toBe(search);
    expect(parseHosts("?window=7&sort=-moon")).toEqual(parseHosts(""));
  });

  it("says what an agent uses and what it may", () => {
    const { cells, restraints } = hostView(row, 1000, 900);
    expect(cells.cpu.text).toBe("0.25\u00a0% / 0.50\u00a0%");
    expect([cells.cpu.fill, cells.cpu.bad, cells.memory.fill]).toEqual([0.5, false, 0.5]);
    expect([cells.host_memory.text, cells.host_memory.fill, cells.host_memory.bad]).toEqual(["6.00\u00a0MiB / 8.00\u00a0MiB", 0.75, false]);
    expect([cells.frequency.text, cells.frequency.bad]).toEqual(["9.5 of 19 Hz", true]);
    expect([cells.rate.text, cells.lag.text, cells.lag.bad]).toEqual(["1.00", "10 s", false]);
    expect([cells.lost.text, cells.lost.bad, cells.lost.title]).toEqual(["100 · 10.0\u00a0%", true, "100 ring full"]);
    expect([cells.truncated.text, cells.truncated.bad]).toEqual(["10.0\u00a0%", true]);
    expect(restraints.map((r) => r.text)).toEqual(["sampling less often", "uploads wait", "40 lower frequency"]);
  });

  it("says nothing of what a sender does not tell", () => {
    const other = hostView({ ...row, agent_version: "", lost: {}, caveats: {}, truncated: 0, samples: 0, figures: {}, last_seen: 2000 }, 1000, 900);
    expect([other.cells.cpu.text, other.cells.memory.text, other.cells.frequency.text, other.cells.version.text]).toEqual(["–", "–", "–", "–"]);
    expect([other.cells.lost.text, other.cells.truncated.text, other.cells.lag.text, other.restraints]).toEqual(["0", "0\u00a0%", "0 s", []]);
    expect([other.cells.lost.bad, other.cells.truncated.bad]).toEqual([false, false]);
  });

  it("sorts by any column, equal ones by name", () => {
    const views = ["b", "c", "a"].map((host, i) => hostView({ ...row, host, samples: i === 1 ? 5 : 10 }, 1000, 900));
    const order = (search: string) => sortHosts(views, parseHosts(search)).map((v) => v.host).join("");
    expect([order(""), order("?sort=-host"), order("?sort=rate"), order("?sort=-rate")]).toEqual(["abc", "cba", "cab", "abc"]);
  });
});
