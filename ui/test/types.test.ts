import { describe, expect, it } from "vitest";
import { typeName, typeNote } from "../src/data/types";

describe("profile types in plain English", () => {
  it("say what touched memory is, and that it is no leak", () => {
    expect(typeName("touched_space")).toBe("Memory first touched");
    expect(typeNote("touched_space")).toMatch(/first touched.*Not what is still held: see Leaks/);
  });
  it("leave what they do not know as it is", () => {
    expect(["memory_rss", "toString"].map(typeName)).toEqual(["memory_rss", "toString"]);
    expect(["cpu", "memory_rss", "toString"].map(typeNote)).toEqual(["", "", ""]);
  });
});
