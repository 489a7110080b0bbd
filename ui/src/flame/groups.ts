import type { CallTree, FrameTable } from "../data/decode";
import type { ColorMode } from "../data/url";
import { baseKind, lastSegment } from "./names";

/** Functions that have a colour in common. */
export interface Group {
  /** Equal groups have equal keys. */
  readonly key: string;
  readonly label: string;
  /** How it is coloured: by its name's hue, by a hue of its own in degrees, or grey. */
  readonly hue: "name" | "kernel" | "none" | number;
}

const KERNEL: Group = { key: "\nkernel", label: "kernel", hue: "kernel" };
const NO_MODULE: Group = { key: "\nnone", label: "no module", hue: "none" };
const NOT_CODE: Group = { key: "\nother", label: "not code", hue: "none" };
const PROGRAM: Group = { key: "\nprogram", label: "program and libraries", hue: 58 };
const RUNTIME: Group = { key: "\nruntime", label: "runtimes and standard libraries", hue: 200 };
const MANAGED: Group = { key: "\nmanaged", label: "interpreted or generated code", hue: 150 };

// Libraries and executables that are a language's runtime or standard library, by file name.
const RUNTIMES = /^(ld-|ld\.|libc[.-]|libm[.-]|libdl[.-]|librt[.-]|libpthread|libstdc\+\+|libc\+\+|libgcc_s|libgo\.|libstd-|libjvm|libjava\.|libpython|python\d|python$|node$|nodejs$|libnode|ruby|libruby|libcoreclr|libclrjit|libmono|beam\.|perl|libperl|php|libphp|\[vdso\])/;
// Functions of a standard library that are compiled into programs: Rust, C++ and Go.
const STANDARD = /^<?(&|\*const |\*mut |dyn |mut )*(std|core|alloc|__gnu_cxx|hashbrown)(\[[0-9a-f]+\])?::|^(__rust_|__rdl_|rust_begin_unwind|runtime\.)/;

/** The group of a function in a mode. */
export function groupOf(mode: ColorMode, name: string, module: string, kind: string): Group {
  const base = baseKind(kind);
  if (base === "kernel") return KERNEL;
  if (base === "other" || base === "root") return NOT_CODE;
  if (mode === "kernel") return sideOf(name, module, base);
  if (mode === "package") return packageOf(name, module, base);
  return module === "" ? NO_MODULE : named(lastSegment(module));
}

function sideOf(name: string, module: string, base: string): Group {
  if (base !== "native" && base !== "go") return MANAGED;
  if (RUNTIMES.test(lastSegment(module)) || STANDARD.test(name)) return RUNTIME;
  return module === "" ? NO_MODULE : PROGRAM;
}

function packageOf(name: string, module: string, base: string): Group {
  const prefix = base === "go" || /^[\w.-]+\/[\w./-]+\.\(?\*?\w/.test(name) ? goPackage(name) : base === "jvm" ? javaPackage(name) : base === "native" ? namespace(name) : "";
  if (prefix !== "") return named(prefix);
  return module === "" ? NO_MODULE : named(lastSegment(module));
}

function named(text: string): Group {
  return { key: text, label: text, hue: "name" };
}

// `github.com/a/b/pkg.(*T).Method` is of `github.com/a/b/pkg`.
function goPackage(name: string): string {
  const dot = name.indexOf(".", name.lastIndexOf("/") + 1);
  return dot < 0 ? "" : name.slice(0, dot);
}

// `java.util.HashMap.get` is of `java.util`: two of the parts before the class.
function javaPackage(name: string): string {
  const parts = (name.split("(")[0] ?? "").replace(/^L/, "").replaceAll("/", ".").split(".");
  const lower = parts.findIndex((part) => !/^[a-z]/.test(part));
  return parts.slice(0, Math.min(2, lower < 0 ? parts.length - 1 : lower)).join(".");
}

// The crate or outermost namespace: of `<alloc::vec::Vec<T> as Extend<T>>::extend` it is `alloc`.
function namespace(name: string): string {
  const open = name.indexOf("(");
  const found = /([A-Za-z_]\w*)(?:\[[0-9a-f]+\])?::/.exec(open > 0 ? name.slice(0, open) : name);
  return found ? found[1] : "";
}

/** The groups of all functions of a tree: worked out once, not once a node. */
export interface Grouping {
  readonly groups: readonly Group[];
  /** By frame: its group. */
  readonly of: Int32Array;
}

export function groupFrames(frames: FrameTable, mode: ColorMode): Grouping {
  const known = new Map<string, number>();
  const groups: Group[] = [];
  const of = Int32Array.from(frames.name, (name, f) => {
    const group = groupOf(mode, name, frames.module[f], frames.kind[f]);
    let index = known.get(group.key);
    if (index === undefined) known.set(group.key, (index = groups.push(group) - 1));
    return index;
  });
  return { groups, of };
}

/** What runs in each group under a node: values of functions themselves, by value descending, without empty ones. */
export function sumGroups(tree: CallTree, { groups, of }: Grouping, node: number): { group: Group; value: number }[] {
  const sums = new Float64Array(groups.length);
  for (let i = node; i < tree.end[node]; i++) sums[of[tree.frame[i]]] += tree.self[i];
  return groups.map((group, g) => ({ group, value: sums[g] })).filter(({ value }) => value > 0).sort((a, b) => b.value - a.value);
}
