import { describe, expect, it } from "vitest";
import type { DiffAnswer, DiffFunction, DiffSide } from "../src/data/answers";
import { decodeDiff, diffRows, diffTree, functionOf, isUntested, Mark, marksOf, ratio } from "../src/data/diff";
import { diffUrl, earlier, formatDiff, lengthOf, parseDiff, DIFF_DEFAULTS } from "../src/data/diffState";
import { describePosted, postedFor } from "../src/data/requests";
import { describeChoice, describeStatistics, formatChange, formatIn, formatRatio, unitOf } from "../src/data/diffText";

const NOW = 1_764_000_000;
const completeness = { samples: 0, lost: {}, lost_total: 0, caveats: {}, truncated: 0, truncated_reasons: {}, unnamed: 0 };

function side(weight: number, change: Partial<DiffSide> = {}): DiffSide {
  // 10 ms a sample, 100 host-seconds.
  return { from: NOW - 100, to: NOW, query: "{}", host_seconds: 100, hosts: 1, windows: 8, samples: weight / 1e7, weight, total: weight / 1e11, ...change };
}

function fn(name: string, verdict: DiffFunction["verdict"], a: number, b: number, change: Partial<DiffFunction> = {}): DiffFunction {
  return { name, module: "app", kind: "native", self_a: a, self_b: b, total_a: a, total_b: b, of: "self", change: b - a, low: b - a - 0.01, high: b - a + 0.01, q: 0.01, verdict, moved_from: null, seen: 0.02, ...change };
}

// main > (hot: 40 -> 80 s, same: 40 -> 41 s, old: 20 -> 0 s, fresh: 0 -> 10 s), and 1 s on each side that was cut.
function answer(): DiffAnswer {
  const s = 1e9;
  return {
    type: "cpu", unit: "cores", weight_unit: "nanoseconds", a: side(101 * s), b: side(132 * s),
    names: ["", "main", "hot", "same", "old", "fresh"], modules: ["", "app", "app", "app", "app", "app"], kinds: ["root", ...Array(5).fill("native")],
    tree: { depth: [0, 1, 2, 2, 2, 2], name: [0, 1, 2, 3, 4, 5], a: [0, 0, 40 * s, 40 * s, 20 * s, 0], b: [0, 0, 80 * s, 41 * s, 0, 10 * s], cut_a: [0, s, 0, 0, 0, 0], cut_b: [0, s, 0, 0, 0, 0] },
    functions_total: 5,
    functions: [fn("hot", "grew", 0.4, 0.8), fn("old", "gone", 0.2, 0), fn("fresh", "new", 0, 0.1), fn("main", "grew", 1.01, 1.32, { of: "total", self_a: 0, self_b: 0 }), fn("same", "chance", 0.4, 0.41)],
    statistics: { dispersion: 1.2, fdr: 0.05, flagged: 4, tested: 5, smallest_change: 0.01 },
    completeness: { a: completeness, b: completeness }, notes: [],
  };
}

const nameAt = (made: ReturnType<typeof diffTree>, i: number) => made.tree.frames.name[made.tree.frame[i]];

describe("the merged tree", () => {
  it("is in the diff's unit, and adds up on both sides", () => {
    const { total, self, tree } = diffTree(decodeDiff(answer()), "both");
    expect(total.map((column) => Number(column[0].toFixed(9)))).toEqual([1.01, 1.32]);
    expect(self[1][tree.frame.indexOf(2)]).toBeCloseTo(0.8, 9);
  });

  it("orders siblings by the width asked for, and keeps what has none", () => {
    const order = (width: "both" | "a" | "b") => {
      const made = diffTree(decodeDiff(answer()), width);
      return Array.from({ length: made.tree.count }, (_, i) => nameAt(made, i)).join(" ");
    };
    expect(order("both")).toBe(" main hot same old fresh");
    expect(order("a")).toBe(" main hot same old fresh");
    expect(order("b")).toBe(" main hot same fresh old");
    const gone = diffTree(decodeDiff(answer()), "b");
    expect(gone.tree.total[5]).toBe(0);
    expect(gone.total[0][5]).toBeCloseTo(0.2, 9);
  });

  it("is refused where columns do not agree", () => {
    const broken = answer();
    broken.tree.b.pop();
    expect(() => decodeDiff(broken)).toThrow(/tree\.b has 5 of 6/);
    const deep = answer();
    deep.tree.depth[2] = 7;
    expect(() => diffTree(decodeDiff(deep), "both")).toThrow(/depth 7/);
  });
});

describe("what is said of a frame", () => {
  const said = (change: (a: DiffAnswer) => void = () => undefined) => {
    const given = answer();
    change(given);
    const diff = decodeDiff(given);
    const made = diffTree(diff, "both");
    const { mark, strength } = marksOf(diff, made);
    return Object.fromEntries(Array.from({ length: made.tree.count }, (_, i) => [nameAt(made, i), [mark[i], strength[i]]]));
  };

  it("follows the collector's verdicts, stronger from twofold on; chance is not told", () => {
    expect(said()).toEqual({ "": [Mark.More, 1], main: [Mark.More, 1], hot: [Mark.More, 2], same: [Mark.Chance, 0], old: [Mark.Less, 2], fresh: [Mark.More, 2] });
  });

  it("is of all what is said of those that hold all", () => {
    const { total_a, total_b } = answer().functions.find((f) => f.name === "main")!;
    const whole = (verdict: "chance" | "grew") => said((a) => (a.functions = [fn("main", verdict, 0, 0, { total_a, total_b })]))[""][0];
    expect([whole("chance"), whole("grew")]).toEqual([Mark.Chance, Mark.More]);
  });

  it("is nothing where this place of a changed function did not change", () => {
    // 8 samples on each side of the same function under another caller.
    const elsewhere = (value: number) => said((a) => {
      a.tree.depth.push(1, 2);
      a.tree.name.push(4, 2);
      for (const [column, v] of [["a", 8e7], ["b", value], ["cut_a", 0], ["cut_b", 0]] as const) a.tree[column].push(0, v);
    });
    expect(elsewhere(9e7).hot).toEqual([Mark.Chance, 0]);
    expect(elsewhere(9e8).hot).toEqual([Mark.More, 2]);
  });

  it("is what the collector says where the function stands in one place, by what of it changed", () => {
    const same = { low: 0.001, high: 0.02, q: 0.04 };
    expect(said((a) => (a.functions[4] = fn("same", "grew", 0.4, 0.41, same))).same).toEqual([Mark.More, 0]);
    expect(said((a) => (a.functions[4] = fn("same", "shrank", 0.3, 0.2, { ...same, total_a: 0.4, total_b: 0.41 }))).same).toEqual([Mark.Less, 1]);
  });

  it("is one thing for both names of a function that moved", () => {
    const marks = said((a) => (a.functions = [fn("fresh", "shrank", 0.2, 0.1, { moved_from: "old" })]));
    expect([marks.fresh, marks.old]).toEqual([[Mark.Less, 2], [Mark.Less, 2]]);
  });

  it("holds moved functions apart, and tells every change where no samples are counted", () => {
    expect(said((a) => (a.functions[1].verdict = "moved")).old).toEqual([Mark.Moved, 0]);
    expect(said((a) => { a.functions[1].verdict = "moved"; a.tree.a[4] = 3e7; }).old).toEqual([Mark.Chance, 0]);
    const all = said((a) => [a.a, a.b].forEach((s) => (s.samples = 0)));
    expect(all.same).toEqual([Mark.More, 0]);
    expect(isUntested({ a: side(1, { samples: 0 }), b: side(0, { samples: 0 }) })).toBe(true);
  });

  it("finds the function of a frame", () => {
    const diff = decodeDiff(answer());
    expect(functionOf(diff, 2)?.verdict).toBe("grew");
    expect(functionOf(diff, 0)).toBeNull();
    expect(functionOf({ ...diff, functions: [fn("fresh", "moved", 0.2, 0.1, { moved_from: "old" })] }, 4)?.name).toBe("fresh");
  });
});

describe("the table", () => {
  const { functions } = answer();
  const names = (...args: [string, "rank" | "name" | "a" | "b" | "change" | "ratio", boolean]) => diffRows(functions, ...args).map((f) => f.name).join(" ");

  it("keeps the collector's ranking, and sorts by what is asked", () => {
    expect(names("", "rank", false)).toBe("hot old fresh main same");
    expect(names("", "rank", true)).toBe("hot old fresh main");
    expect(names("", "name", false)).toBe("fresh hot main old same");
    // Of main it is the total that changed.
    expect(names("", "b", false)).toBe("main hot same fresh old");
    expect(names("", "change", false)).toBe("hot main old fresh same");
    expect(names("", "ratio", false)).toBe("fresh hot old main same");
    expect(names("AME", "rank", false)).toBe("same");
    expect(ratio(0, 0)).toBe(0);
  });
});

describe("values by requests", () => {
  it("stand in the address with both counts, or neither where those that were posted count", () => {
    const state = { ...DIFF_DEFAULTS, by: "requests", requests_a: "1000", requests_b: "2000", generics: "fold" } as const;
    expect(parseDiff(formatDiff(state))).toEqual(state);
    const posted = { ...DIFF_DEFAULTS, by: "requests" } as const;
    expect(parseDiff(formatDiff(posted))).toEqual(posted);
    for (const wrong of ["?by=requests&requests_a=5", "?by=requests&requests_a=5&requests_b=0", "?by=requests&requests_a=5&requests_b=1e3", "?requests_a=5&requests_b=6"]) expect(parseDiff(wrong)).toEqual(DIFF_DEFAULTS);
  });
  it("are those that the collector takes of what was posted", () => {
    const sum = (version: string, host: string, count: number, service = "api") => ({ service, version, host, count, counted_seconds: 60 });
    const posted = [sum("1", "web-1", 10), sum("1", "web-2", 20), sum("2", "web-1", 7), sum("2", "", 9), sum("", "", 100), sum("1", "web-1", 1000, "db")];
    expect(postedFor(posted, "api", "1", null)).toEqual({ count: 30, hosts: 2 });
    expect(postedFor(posted, "api", "2", null)).toEqual({ count: 9, hosts: 0 });
    expect(postedFor(posted, "api", "3", null)).toEqual({ count: 100, hosts: 0 });
    expect(postedFor(posted, "api", null, null)).toEqual({ count: 109, hosts: 0 });
    expect(postedFor(posted, "api", "1", "web-2")).toEqual({ count: 20, hosts: 1 });
    expect(postedFor(posted, "gate", "1", null)).toBeNull();
    expect([postedFor(posted, "db", "1", null), postedFor(posted, "gate", null, null)].map(describePosted)).toEqual(["1\u202f000 posted by 1 host", "nothing was posted"]);
  });
  it("are told as time", () => {
    const of = (total: number) => ({ unit: "request", weight_unit: "nanoseconds", a: side(1e9, { total }), b: side(1e9, { total: total / 2 }) });
    const diff = of(8e6);
    expect([formatIn(diff, 2.5e6), formatChange(diff, 30_000), formatIn(diff, 0)]).toEqual(["2.50", "+0.03", "0"]);
    expect([of(8e5), diff, of(3e9), { ...diff, weight_unit: "bytes" }].map(unitOf)).toEqual(["µs of CPU a request", "ms of CPU a request", "s of CPU a request", "a request"]);
  });
});

describe("the address", () => {
  it("holds everything, and leaves defaults out", () => {
    expect(formatDiff(DIFF_DEFAULTS)).toBe("");
    const state = { ...DIFF_DEFAULTS, a: { query: '{service="api"}', from: "-2h", to: "-1h" }, by: "share", width: "a", only: true, whole: true, path: [{ name: "main", nth: 0 }], search: "hot", sort: "change" } as const;
    expect(parseDiff(formatDiff(state))).toEqual(state);
    expect(parseDiff("?by=votes&width=c&sort=x")).toEqual(DIFF_DEFAULTS);
    expect(diffUrl({ deploy: "api", version: "1.5" })).toBe("/diff?deploy=api&version=1.5");
  });

  it("goes back in time, relative where it was", () => {
    expect(earlier(DIFF_DEFAULTS.b, 3600, NOW)).toEqual({ query: "", from: "-75m", to: "-1h" });
    expect(earlier({ query: "", from: "2025-11-24T15:00:00Z", to: "2025-11-24T16:00:00Z" }, 86400, NOW)).toEqual({ query: "", from: "2025-11-23T15:00:00Z", to: "2025-11-23T16:00:00Z" });
    expect(earlier({ query: "", from: "soon", to: "now" }, 60, NOW)).toBeNull();
    expect(lengthOf(DIFF_DEFAULTS.b, NOW)).toBe(900);
    expect(lengthOf({ query: "", from: "now", to: "-1h" }, NOW)).toBeNull();
  });
});

describe("words", () => {
  const diff = decodeDiff(answer());

  it("small services are told in thousandths, shares in per cent", () => {
    expect([formatIn(diff, 0.0421), formatChange(diff, 0.5), formatChange(diff, -0.0009), formatChange(diff, 1e-9), unitOf(diff)]).toEqual(["42.1", "+500", "−0.90", "0", "millicores a host"]);
    const large = { ...diff, a: side(1, { total: 12 }) };
    expect([formatIn(large, 1.234), unitOf(large)]).toEqual(["1.23", "cores a host"]);
    expect([formatChange({ ...diff, unit: "share" }, 0.031), formatIn({ ...diff, weight_unit: "bytes" }, 2048)]).toEqual(["+3.10\u00a0%", "2.00\u00a0KiB/s"]);
    expect([Infinity, -1, 0.204, -0.031, 11, 1e-6].map(formatRatio)).toEqual(["new", "gone", "+20\u00a0%", "−3.1\u00a0%", "×12.0", "±0\u00a0%"]);
  });

  it("says what was chosen", () => {
    const at = (query: string, from: number, to: number) => side(1, { query, from, to });
    const api = (version: string) => `{service="api", version="${version}"}`;
    const day = 86400;
    expect(describeChoice({ a: at(api("1"), NOW - day - 900, NOW - day), b: at(api("2"), NOW - 900, NOW) })).toBe("version 1 → 2; both are 15 min long; A is the same time of day, 1\u00a0day earlier");
    expect(describeChoice({ a: at("{}", NOW - 1800, NOW - 900), b: at("{}", NOW - 900, NOW) })).toBe("both are 15 min long; A ends where B begins");
    expect(describeChoice({ a: at('{host="a"}', NOW - 900, NOW), b: at('{host="b"}', NOW - 900, NOW) })).toBe("host a → b; the same window");
    expect(describeChoice({ a: at("{}", NOW - 3600, NOW), b: at("{}", NOW - 900, NOW) })).toBe("A is 1 h long, B 15 min; A and B overlap in time");
    expect(describeChoice({ a: at(api("1"), 0, 1), b: at(api("2"), 1, 2) }, "chosen so")).toBe("version 1 → 2; chosen so");
    expect(describeChoice({ a: at("{}", 0, 9), b: at("{}", 0, 9) })).toBe("A and B are the very same");
  });

  it("says what changed and what would have been seen", () => {
    expect(describeStatistics(diff)).toEqual([
      "4\u00a0functions of 5 changed beyond chance: at most 5\u00a0% of those told are expected to be false.",
      "A function that takes 5\u00a0% of A would have been told 4 times of 5 if it had changed by 10.0 millicores a host (20\u00a0% of it).",
    ]);
    expect(describeStatistics({ ...diff, statistics: { ...diff.statistics, flagged: 0, smallest_change: 0.2 } }).join(" ")).toMatch(/^None of 5\sfunctions changed beyond chance\. .* \(more than it takes: these are few samples\)\.$/);
    expect(describeStatistics({ ...diff, statistics: { ...diff.statistics, tested: 0 } })[0]).toMatch(/too few samples/);
    expect(describeStatistics({ ...diff, a: side(1, { samples: 0 }), b: side(1, { samples: 0 }) })[0]).toMatch(/counts no samples/);
  });
});
