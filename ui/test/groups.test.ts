import { describe, expect, it } from "vitest";
import { groupFrames, groupOf, sumGroups } from "../src/flame/groups";
import { SMALL, treeOf } from "./tree";

const label = (mode: "module" | "kernel" | "package") => (name: string, module = "/usr/bin/api", kind = "native") => groupOf(mode, name, module, kind).label;

describe("colour by module", () => {
  it("is the same wherever the file is installed", () => {
    const of = label("module");
    expect([of("read", "/lib/libc.so.6"), of("read", "/usr/lib/libc.so.6"), of("do_syscall_64", "[kernel]", "kernel"), of("x", "")]).toEqual(["libc.so.6", "libc.so.6", "kernel", "no module"]);
    expect(groupOf("module", "[truncated: copy_exhausted]", "", "other").label).toBe("not code");
  });
});

describe("colour by side", () => {
  const of = label("kernel");
  it.each([
    ["vfs_read", "[kernel]", "kernel", "kernel"],
    ["malloc", "/usr/lib/x86_64-linux-gnu/libc.so.6", "native", "runtimes and standard libraries"],
    ["_PyEval_EvalFrameDefault", "/opt/lib/libpython3.11.so.1.0", "native (inlined)", "runtimes and standard libraries"],
    ["<alloc::vec::Vec<T>>::push", "/usr/bin/api", "native (inlined)", "runtimes and standard libraries"],
    ["std::map<int, A>::find(int const&)", "/usr/bin/api", "native", "runtimes and standard libraries"],
    ["runtime.mallocgc", "/usr/bin/gosrv", "go", "runtimes and standard libraries"],
    ["api::standard::run", "/usr/bin/api", "native", "program and libraries"],
    ["main.handler", "/usr/bin/gosrv", "go", "program and libraries"],
    ["SSL_read", "/usr/lib/libssl.so.3", "native", "program and libraries"],
    ["report.render", "report.py", "cpython", "interpreted or generated code"],
    ["java.util.HashMap.get", "", "jvm", "interpreted or generated code"],
    ["[anon]+0x10", "", "native", "no module"],
  ])("puts %s of %s (%s) to %s", (name, module, kind, expected) => expect(of(name, module, kind)).toBe(expected));
});

describe("colour by package", () => {
  const of = label("package");
  it.each([
    ["tokio::runtime::task::raw::poll", "native", "tokio"],
    ["<alloc::vec::Vec<T> as core::iter::Extend<T>>::extend", "native", "alloc"],
    ["<&rustc_middle::ty::List<T> as X>::fold", "native", "rustc_middle"],
    ["<T as core::convert::Into<U>>::into", "native", "core"],
    ["serde[a1b2c3]::de::read", "native", "serde"],
    ["fold_const(llvm::Value*)", "native", "api"],
    ["malloc", "native", "api"],
    ["github.com/a/b/pkg.(*T).Method", "go", "github.com/a/b/pkg"],
    ["net/http.(*conn).serve", "go", "net/http"],
    ["main.main.func1", "go", "main"],
    ["java.util.concurrent.ForkJoinPool.scan", "jvm", "java.util"],
    ["Lcom/acme/Orders;::list", "jvm", "com.acme"],
    ["render", "cpython", "api"],
  ])("puts %s (%s) to %s", (name, kind, expected) => expect(of(name, undefined, kind)).toBe(expected));
});

describe("legend", () => {
  const tree = treeOf([...SMALL, { name: "read", self: 7, module: "libc.so.6" }]);
  it("sums what runs in a group itself, the heaviest first", () => {
    const grouping = groupFrames(tree.frames, "module");
    expect(sumGroups(tree, grouping, 0).map(({ group, value }) => [group.label, value])).toEqual([["app", 90], ["libc.so.6", 7]]);
    expect(sumGroups(tree, grouping, 4).map(({ value }) => value)).toEqual([30]);
  });
});
