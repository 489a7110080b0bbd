import { describe, expect, it } from "vitest";
import { collectorFacts } from "../src/data/collector";

const status = {
  version: "0.1.0", started: 1_000_000, samples_stored: 1, batches: 1, store_bytes: 5 << 20,
  store: { writable: true, raw_from: 1_000_000, minute_from: 0, hour_from: 0, deleted_by_size: 0, refused_full: 0 },
  symbols: { objects: 3, bytes: 2 << 20, quota_bytes: 4 << 20, bad: 0 },
};
const text = (more: Partial<typeof status> = {}) => collectorFacts({ ...status, ...more }, 1_000_000 + 2 * 86400 + 7200).map((f) => `${f.label}: ${f.text}`.replaceAll("\u00a0", " "));

describe("collector", () => {
  it("says what it keeps and on how much disk", () => {
    expect(text()).toEqual(["Collector: 0.1.0, up 2 d 2 h", "Profiles on disk: 5.00 MiB", "Kept: 10 s: 2 d · minutes: everything · hours: everything", "Symbols: 3 objects, 2.00 MiB of 4.00 MiB"]);
  });
  it("says when room is short, and leaves out what an older one does not tell", () => {
    const short = collectorFacts({ ...status, store: { ...status.store, writable: false, deleted_by_size: 2, refused_full: 9 } }, 1_000_001);
    expect(short.filter((f) => f.bad).map((f) => f.label)).toEqual(["Sent away", "Store"]);
    expect(short.map((f) => f.label)).toContain("Deleted for room");
    expect(collectorFacts({ version: "0", started: 5, samples_stored: 0, batches: 0 }, 6)).toHaveLength(1);
  });
});
