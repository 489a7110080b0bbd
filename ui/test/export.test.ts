import { describe, expect, it } from "vitest";
import { TreeBuilder } from "../src/data/build";
import { decodeProfile, type CallTree } from "../src/data/decode";
import { foldedText, speedscopeFile, type SpeedscopeFile } from "../src/data/export";
import { applyTransforms } from "../src/data/transform";
import { large, SMALL, treeOf } from "./tree";

const tree = treeOf(SMALL);
const info = { name: "api, 5 min", unit: "nanoseconds", exporter: "flamekeeper" };

/** A reader of folded text as its tools have it: the last space parts stack and value. */
function readFolded(text: string): [string, number][] {
  return text.split("\n").filter((line) => line !== "").map((line) => {
    const space = line.lastIndexOf(" ");
    return [line.slice(0, space), Number(line.slice(space + 1))];
  });
}

/** Names and totals in preorder: what two trees have in common when they show the same. */
function shape(t: CallTree, nameOf = (f: number) => t.frames.name[f]): [number, string, number][] {
  return Array.from({ length: t.count }, (_, i) => [t.depth[i], i === 0 ? "" : nameOf(t.frame[i]), Math.round(t.total[i])]);
}

/** The tree that a speedscope file holds; throws where the file breaks the published schema. */
function readSpeedscope(file: SpeedscopeFile): CallTree {
  const { frames } = file.shared;
  for (const frame of frames) {
    if (typeof frame.name !== "string" || !["string", "undefined"].includes(typeof frame.file) || !["number", "undefined"].includes(typeof frame.line)) throw new Error("a frame of the wrong type");
    for (const key of Object.keys(frame)) if (!["name", "file", "line", "col"].includes(key)) throw new Error(`a frame has ${key}`);
  }
  const [profile] = file.profiles;
  if (profile.samples.length !== profile.weights.length) throw new Error("not a weight for each sample");
  if (!["none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"].includes(profile.unit)) throw new Error(`unit ${profile.unit}`);
  const table = { name: ["", ...frames.map((f) => f.name)], module: [], file: [], line: new Int32Array(), kind: [] };
  const out = new TreeBuilder(table, 0);
  profile.samples.forEach((sample, i) => {
    let id = 0;
    for (const f of sample) {
      if (!Number.isInteger(f) || f < 0 || f >= frames.length) throw new Error(`frame ${f} of ${frames.length}`);
      id = out.child(id, f + 1);
    }
    out.add(id, profile.weights[i], 0);
  });
  return out.build().tree;
}

describe("folded text", () => {
  it("has every stack, and says what was cut", () => {
    expect(readFolded(foldedText(tree, 0))).toEqual([
      ["main", 5], ["main;parse;[narrower functions]", 10], ["main;parse;lex", 50], ["main;eval", 10], ["main;eval;main", 20], ["main;gc", 5],
    ]);
  });
  it("has the zoom under its callers", () => {
    expect(readFolded(foldedText(tree, 4))).toEqual([["main;eval", 10], ["main;eval;main", 20]]);
  });
  it("keeps names from breaking the format", () => {
    expect(foldedText(treeOf([{ name: "a;b\nc d", self: 3 }]), 0)).toBe("a:b c d 3\n");
    expect(foldedText(treeOf([]), 0)).toBe("");
  });
  it("is what is seen after transforms", () => {
    const { tree: t } = applyTransforms(tree, [{ kind: "recursion", subject: "main" }, { kind: "hide", subject: "parse" }]);
    expect(readFolded(foldedText(t, 0))).toEqual([["main", 25], ["main;eval", 10], ["main;gc", 5]]);
  });
});

describe("speedscope file", () => {
  it("is as its schema says, and holds the whole tree", () => {
    const { tree: big } = decodeProfile(large(5000));
    const file = JSON.parse(JSON.stringify(speedscopeFile(big, 0, info))) as SpeedscopeFile;
    expect([file.$schema, file.activeProfileIndex, file.profiles[0].type, file.profiles[0].unit]).toEqual(["https://www.speedscope.app/file-format-schema.json", 0, "sampled", "nanoseconds"]);
    // The generated tree repeats frames under a caller: joined, both are the same.
    const joined = applyTransforms(big, [{ kind: "merge", subject: "nothing" }]).tree;
    const byStack = (list: [number, string, number][]) => list.length;
    const read = readSpeedscope(file);
    expect(byStack(shape(read))).toBe(byStack(shape(joined)));
    expect(Math.abs(read.total[0] - big.total[0])).toBeLessThan(1);
    expect(file.profiles[0].endValue).toBeCloseTo(big.total[0], 0);
  });
  it("holds a zoom under its callers, what was cut, and only functions that are in it", () => {
    const file = speedscopeFile(tree, 2, info);
    expect(shape(readSpeedscope(file))).toEqual([[0, "", 60], [1, "main", 60], [2, "parse", 60], [3, "lex", 50], [3, "[narrower functions]", 10]]);
    expect(file.shared.frames).toEqual([{ name: "main", file: "app" }, { name: "parse", file: "app" }, { name: "[narrower functions]" }, { name: "lex", file: "app" }]);
  });
  it("takes other units for counts", () => {
    expect(speedscopeFile(tree, 0, { ...info, unit: "samples" }).profiles[0].unit).toBe("none");
  });
});
