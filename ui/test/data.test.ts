import { describe, expect, it } from "vitest";
import { formatPath, isPruned, parsePath, pathOf, pathParameter, resolvePath } from "../src/data/path";
import { tableRows, visibleRows } from "../src/data/rows";
import { formatSelector, parseSelector, selectedValue, withValue } from "../src/data/selector";
import { stack } from "../src/data/stack";
import { formatRelative, formatSpan, formatTime, isRelative, parseTime } from "../src/data/time";
import { formatCount, formatRate, formatShare, formatValue } from "../src/data/units";
import { DEFAULTS, formatState, parseState, type ExploreState } from "../src/data/url";
import { apiUrl } from "../src/data/api";
import { makePalette } from "../src/flame/palette";
import { SMALL, treeOf } from "./tree";

describe("address", () => {
  it("leaves defaults out and reads back what it wrote", () => {
    expect(formatState(DEFAULTS)).toBe("");
    const state: ExploreState = {
      ...DEFAULTS, query: '{service="a&b"}', from: "-1h", path: [{ name: "operator<< <int>", nth: 0 }, { name: "f", nth: 2 }],
      search: "/x+/", view: "table", direction: "icicle", sort: "total", live: true, color: "kernel", filter: "ä", by: "host", generics: "fold",
    };
    expect(parseState(formatState(state))).toEqual(state);
  });
  it("falls back to defaults for what it does not know, and takes a bare service", () => {
    expect(parseState("?view=nonsense&sort=42")).toEqual(DEFAULTS);
    expect(parseState("?service=api").query).toBe('{service="api"}');
  });
  it("leaves empty parameters out of requests", () => {
    expect(apiUrl("top", { query: "", from: "-15m", limit: 0 })).toBe("/api/v1/top?from=-15m&limit=0");
  });
});

describe("path", () => {
  const tree = treeOf([...SMALL, { name: "main", self: 3, callees: [{ name: "x", self: 1 }] }]);
  it("finds the node again, also among siblings of one name", () => {
    for (let node = 0; node < tree.count; node++) {
      expect(resolvePath(tree, parsePath(formatPath(pathOf(tree, node))))).toEqual({ node, found: tree.depth[node] });
    }
  });
  it("goes as far as the tree has it", () => {
    expect(resolvePath(tree, [{ name: "main", nth: 0 }, { name: "gone", nth: 0 }])).toEqual({ node: 1, found: 1 });
  });
  it("sends names only", () => {
    expect(pathParameter([{ name: "a", nth: 0 }, { name: "b", nth: 3 }])).toBe("a\u001fb");
  });
  it("knows what must be asked for again", () => {
    expect([0, 1, 2, 3, 4].map((n) => isPruned(tree, n))).toEqual([true, true, true, false, false]);
  });
});

describe("selector", () => {
  it("reads what it writes", () => {
    const text = '{service="a\\"b", version!="1.4", host=~"web-.*", unit!~"x"}';
    const parsed = parseSelector(text);
    expect(parsed).toHaveLength(4);
    expect(formatSelector(parsed as never)).toBe(text);
    expect(parseSelector("")).toEqual([]);
    expect(parseSelector('host="a"')).toHaveLength(1);
  });
  it.each(['{service="a"', "{service}", '{a="b" c="d"}', "{a=b}"])("refuses %s and says how", (text) => {
    expect(parseSelector(text)).toHaveProperty("error");
  });
  it("fixes one label and keeps the others", () => {
    expect(withValue('{host="h", service="a"}', "service", "b")).toBe('{service="b", host="h"}');
    expect(withValue('{service="a"}', "service", null)).toBe("");
    expect(selectedValue('{service="a"}', "service")).toBe("a");
    expect(selectedValue('{service=~"a"}', "service")).toBeNull();
  });
});

describe("time", () => {
  it("takes every form the API takes", () => {
    expect(parseTime("-15m", 1000)).toBe(100);
    expect(parseTime("now", 5)).toBe(5);
    expect(parseTime("1764000000.5", 0)).toBe(1764000000.5);
    expect(parseTime("2026-11-24T14:00:00Z", 0)).toBe(1795528800);
    expect(parseTime("tomorrow", 0)).toBeNull();
    expect([isRelative("-1h"), isRelative("now"), isRelative("2026-11-24T14:00:00Z")]).toEqual([true, true, false]);
  });
  it("writes what it reads", () => {
    expect(formatTime(1795528800)).toBe("2026-11-24T14:00:00Z");
    expect(parseTime(formatTime(1795528800.25), 0)).toBe(1795528800.25);
    expect([900, 3600, 172800, 90].map(formatRelative)).toEqual(["-15m", "-1h", "-2d", "-90s"]);
    expect([900, 3660, 0.5].map(formatSpan)).toEqual(["15 min", "1 h 1 min", "1 s"]);
  });
});

describe("units", () => {
  const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, " ");
  it("are short and right", () => {
    expect([0, 1500, 2.5e6, 1.23e9, 7.2e11, 9e13].map((v) => plain(formatValue(v, "nanoseconds")))).toEqual(["0 s", "1.50 µs", "2.50 ms", "1.23 s", "12.0 min", "25.0 h"]);
    expect(plain(formatValue(1536, "bytes"))).toBe("1.50 KiB");
    expect([0, 0.00001, 0.0123, 0.5, 1].map((v) => plain(formatShare(v)))).toEqual(["0 %", "<0.01 %", "1.23 %", "50.0 %", "100 %"]);
    expect(plain(formatRate(9e9, "nanoseconds", 10))).toBe("0.900 cores");
    expect(plain(formatRate(0, "nanoseconds", 10))).toBe("0 cores");
    expect(plain(formatCount(1234567))).toBe("1 234 567");
    expect(formatShare(Number.NaN)).toBe("–");
  });
});

describe("table", () => {
  const f = (name: string, self: number, total: number) => ({ name, module: "m", file: "", line: 0, kind: "native", self, total });
  const functions = [f("b", 5, 9), f("a", 5, 20), f("Cc", 1, 30)];
  it("sorts and filters", () => {
    expect(tableRows(functions, "", "self").map((r) => r.name)).toEqual(["a", "b", "Cc"]);
    expect(tableRows(functions, "", "total").map((r) => r.name)).toEqual(["Cc", "a", "b"]);
    expect(tableRows(functions, "c", "name").map((r) => r.name)).toEqual(["Cc"]);
  });
  it("puts only rows in view into the page", () => {
    expect(visibleRows(1e6, 24_000, 480, 24)).toEqual({ first: 992, last: 1028 });
    expect(visibleRows(3, 0, 480, 24)).toEqual({ first: 0, last: 3 });
    expect(visibleRows(0, 500, 480, 24)).toEqual({ first: 0, last: 0 });
  });
});

describe("time series", () => {
  it("stacks cores, the tallest first, and carries the last step to its end", () => {
    const s = stack({ unit: "nanoseconds", step: 10, from: 100, points: 2, series: [{ label: "a", values: [1e10, 2e10] }, { label: "b", values: [1e10, 0] }], rest: [0, 1e10], completeness: {} as never });
    expect(s.xs).toEqual([100, 110, 120]);
    expect(s.order).toEqual([-1, 1, 0]);
    expect(s.tops).toEqual([[2, 3, 3], [2, 2, 2], [1, 2, 2]]);
  });
});

describe("palette", () => {
  const luminance = (hex: string) => {
    const [r, g, b] = [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2), 16) / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a: string, b: string) => {
    const [hi, lo] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (hi + 0.05) / (lo + 0.05);
  };
  it.each([["light", false], ["dark", true]] as const)("keeps labels readable (WCAG AA) in %s", (_, dark) => {
    for (const mode of ["module", "kernel", "package"] as const) {
      const palette = makePalette(mode, dark);
      for (let i = 0; i < 300; i++) {
        for (const kind of ["native", "kernel", "cpython", "jvm", "go", "other", "root"]) {
          expect(contrast(palette.fill(`f${i}`, `m${i}`, kind), palette.text)).toBeGreaterThan(4.5);
        }
      }
      expect(contrast(palette.match, palette.matchText)).toBeGreaterThan(4.5);
    }
  });
  it("gives a module one hue wherever it is installed", () => {
    const { fill } = makePalette("module", false);
    expect(fill("f", "/usr/lib/libc.so.6", "native")).toBe(fill("f", "/lib/x86_64-linux-gnu/libc.so.6", "native"));
  });
});
