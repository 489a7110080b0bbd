import { batch, computed, effect, signal } from "@preact/signals";
import type { CompareAnswer, DeploysAnswer, DiffAnswer, LabelsAnswer, ServicesAnswer, TypesAnswer } from "../data/answers";
import { apiUrl } from "../data/api";
import { timed, type CallTree } from "../data/decode";
import { decodeDiff, diffRows, diffTree, marksOf, type Diff } from "../data/diff";
import { formatDiff, parseDiff, type DiffState, type Side } from "../data/diffState";
import { formatPath, isPruned, parsePath, pathParameter, resolvePath, type FramePath } from "../data/path";
import { graphTypes } from "../data/heatmap";
import { Resource } from "../data/resource";
import { parseSelector, selectedValue } from "../data/selector";
import { formatTime } from "../data/time";
import { Address } from "../explore/address";
import type { Graph } from "../explore/graph";
import { dark } from "../explore/theme";
import { diffFill } from "../flame/diffPalette";
import { makePalette } from "../flame/palette";
import { searchIn } from "../flame/search";

// Nodes of the tree: more are narrower than a pixel on most screens.
const NODES = 8000;
const ALL_NODES = 1_000_000;
// Functions in the table: those beyond chance come first. With this many, and as many nodes, an answer about a host full of compilers takes 100 kB.
const FUNCTIONS = 500;
// Far back enough for the deploys that people still ask about, as the collector looks.
const DEPLOYS_FROM = "-7d";
const AWAIT_SECONDS = 5;

const identity = <T>(answer: T): T => answer;
const address = new Address<DiffState>(parseDiff, formatDiff);

/** What the address says; `why` is how the collector chose the windows. */
export const { state, undoable, note: why } = address;

/** Changes the state: `push` makes a step that Back undoes, `replace` does not. */
export function go(change: Partial<DiffState>, how: "push" | "replace" = "push"): void {
  address.go(change, how);
}

/** Compares other sides; how the ones before were chosen means nothing to them. */
export function choose(change: Partial<DiffState>): void {
  address.go({ deploy: "", version: "", previous: "", path: [], ...uncounted(), ...change }, "push", "");
}

/** Asks which windows to compare before and after a deploy of a service: the last one where no version is named. */
export function chooseDeploy(service: string, version = "", previous = ""): void {
  address.go({ deploy: service, version, previous, path: [], ...uncounted() }, "push", "");
}

// Requests that were typed in for other windows mean nothing; those that were posted are of any.
function uncounted(): Partial<DiffState> {
  const { by, requests_a } = state.peek();
  return { by: by === "requests" && requests_a !== "" ? "cores" : by, requests_a: "", requests_b: "" };
}

const loaded = new Resource<DiffAnswer, Diff>(timed(decodeDiff));
/** The exact tree under the zoom, where the whole one was pruned there. */
const detail = new Resource<DiffAnswer, Diff>(timed(decodeDiff));
const compared = new Resource<CompareAnswer, CompareAnswer>(identity);
export const services = new Resource<ServicesAnswer, ServicesAnswer>(identity);
export const types = new Resource<TypesAnswer, TypesAnswer>(graphTypes);
export const labels = new Resource<LabelsAnswer, LabelsAnswer>(identity);
export const deploys = new Resource<DeploysAnswer, DeploysAnswer>(identity);

/** The diff's state, for loading and errors; and that of the question which windows to compare. */
export const diffState = loaded.state;
export const compareState = compared.state;
export const detailState = detail.state;

// By identity, so that progress of a request under way does not lay out anew.
export const diff = computed(() => loaded.state.value.value);
const width = computed(() => state.value.width);
const pathText = computed(() => formatPath(state.value.path));
const searchText = computed(() => state.value.search);

/** The whole tree with frames as wide as asked. */
const wholeTree = computed(() => diff.value && diffTree(diff.value, width.value));

const loadedFrom = computed(() => loaded.state.value.url);

// The question of the answer on the page, with its times as they were answered; what the detail under a place is asked for begins with it.
const answered = computed(() => {
  const now = diff.value;
  const asked = new URLSearchParams(loadedFrom.value.split("?")[1] ?? "");
  if (!now || asked.size === 0) return null;
  for (const [name, side] of [["a", now.a], ["b", now.b]] as const) {
    asked.set(`from_${name}`, formatTime(side.from));
    asked.set(`to_${name}`, formatTime(side.to));
  }
  return Object.fromEntries(asked);
});
const detailBase = computed(() => {
  const parameters = answered.value;
  return parameters && `${apiUrl("diff", { ...parameters, max_nodes: NODES })}&path=`;
});

/** Whether a tree holds everything below a place. */
function isExact(tree: CallTree, path: FramePath): boolean {
  const { node, found } = resolvePath(tree, path);
  return found === path.length && !isPruned(tree, node);
}

const detailValue = computed(() => detail.state.value.value);
const detailFrom = computed(() => detail.state.value.url);
const detailTree = computed(() => detailValue.value && diffTree(detailValue.value, width.value));

/** Whether the detail that is there is of this answer and holds everything below the zoom. */
const isDetailed = computed(() => {
  const [base, made, path] = [detailBase.value, detailTree.value, parsePath(pathText.value)];
  return base !== null && made !== null && path.length > 0 && detailFrom.value.startsWith(base) && resolvePath(made.tree, path).found === path.length && (detailFrom.value === base + encodeURIComponent(pathParameter(path)) || isExact(made.tree, path));
});

/** The address of the exact answer under the zoom; empty where what is there is exact. */
const detailUrl = computed(() => {
  const [base, made, path] = [detailBase.value, wholeTree.value, parsePath(pathText.value)];
  if (base === null || !made || path.length === 0 || isDetailed.value || isExact(made.tree, path)) return "";
  return base + encodeURIComponent(pathParameter(path));
});

/** Whether narrow functions below the zoom are still missing. */
export const isCoarse = computed(() => detailUrl.value !== "");

/** What is drawn: the whole, or the exact detail under the zoom; what is said of functions is said of the whole. */
export const drawn = computed(() => {
  const [now, detailed] = [diff.value, isDetailed.value ? detailValue.value : null];
  if (!now || !detailed) return now;
  const { frames, depth, frame, self, cut } = detailed;
  return { ...now, frames, depth, frame, self, cut };
});
/** Its tree. */
export const tree = computed(() => (isDetailed.value ? detailTree.value : wholeTree.value));
export const marks = computed(() => drawn.value && tree.value && marksOf(drawn.value, tree.value));

const shown = computed(() => {
  const made = tree.value;
  return made && { tree: made.tree, node: resolvePath(made.tree, parsePath(pathText.value)).node };
});

/** The diff's tree, as the flamegraph, the keys and the search know it. */
export const graph: Graph = {
  shown,
  found: computed(() => searchIn(shown.value, searchText.value)),
  search: searchText,
  direction: computed(() => state.value.direction),
  zoomTo: (path) => go({ path }),
  searchFor: (search) => go({ search }, "replace"),
};

export const palette = computed(() => makePalette("module", dark.value));
export const colors = computed(() => diffFill(dark.value));
/** The fill of a node: what is said of it. */
export const fill = computed(() => {
  const said = marks.value;
  const color = colors.value;
  return said && ((node: number) => color(said.mark[node], said.strength[node]));
});

/** Whether a side has no samples, so that there is nothing to draw. */
export const lacking = computed(() => diff.value !== null && (diff.value.a.weight === 0 || diff.value.b.weight === 0));

/** What the server left out of the tree, in the width that is shown. */
export const cut = computed(() => {
  const view = shown.value;
  let sum = 0;
  if (view) for (let i = view.node; i < view.tree.end[view.node]; i++) sum += view.tree.cut[i];
  return sum;
});

const filter = computed(() => state.value.filter);
const sort = computed(() => state.value.sort);
const only = computed(() => state.value.only);
/** The rows of the table, in order. */
export const rows = computed(() => diffRows(diff.value?.functions ?? [], filter.value, sort.value, only.value));

/** The service that both sides are of, or that the question is about; null where there is none. */
export const service = computed(() => {
  const { a, b, deploy } = state.value;
  const of = selectedValue(b.query, "service");
  return deploy || (of !== null && of === selectedValue(a.query, "service") ? of : null);
});

// A deliberate reload of everything.
const generation = signal(0);

/** Requests everything anew. */
export function refresh(): void {
  generation.value++;
}

const question = computed(() => {
  const { deploy, a, b, type, by, requests_a, requests_b, generics, whole } = state.value;
  if (deploy !== "") return "";
  const side = (name: string, { query, from, to }: Side) => ({ [`query_${name}`]: query, [`from_${name}`]: from, [`to_${name}`]: to });
  return apiUrl("diff", { type, ...side("a", a), ...side("b", b), by, requests_a, requests_b, generics: generics === "fold" ? generics : "", max_nodes: whole ? ALL_NODES : NODES, limit: whole ? 0 : FUNCTIONS });
});
const comparison = computed(() => {
  const { deploy, version, previous } = state.value;
  return deploy === "" ? "" : apiUrl("deploys/compare", { service: deploy, version, from_version: previous });
});

/** Whether the page still shows the answer to an earlier question. */
export const stale = computed(() => diff.value !== null && loaded.state.value.url !== question.value);

/** Whether no service has sent anything: the page then looks again by itself. */
export const noAgent = computed(() => services.state.value.value?.services.length === 0);

/** The same picture, whenever it is asked for: its times as the answer states them. */
export function pinned(): Partial<DiffState> {
  const now = diff.peek();
  if (!now || stale.peek()) return {};
  const { a, b } = state.peek();
  const pin = (side: Side, { from, to }: { from: number; to: number }): Side => ({ ...side, from: formatTime(from), to: formatTime(to) });
  return { a: pin(a, now.a), b: pin(b, now.b) };
}

/** Where the report of what is on the page is, in one of its formats; the address alone, where nothing has been answered. */
export function reportUrl(format: "markdown" | "text" | "report"): string {
  return apiUrl("diff", { ...answered.value, max_nodes: 1, limit: format === "report" ? 0 : 50, format });
}

/** Makes one function of those that differ by their type arguments alone, or parts them again; a zoom goes by names, which are others then. */
export function switchGenerics(): void {
  go({ generics: state.peek().generics === "fold" ? "keep" : "fold", path: [] });
}

// What the collector chose becomes the state, so that the link shows the same tomorrow.
function takeUp({ a, b, why: text }: CompareAnswer): void {
  const side = ({ query, from, to }: CompareAnswer["a"]): Side => ({ query, from: formatTime(from), to: formatTime(to) });
  address.go({ a: side(a), b: side(b), deploy: "", version: "", previous: "" }, "replace", text);
}

/** Begins to load what the address asks for. */
export function startDiff(): void {
  effect(() => {
    generation.value;
    const url = question.value;
    if (url !== "") void loaded.load(url);
  });
  effect(() => {
    generation.value;
    const url = comparison.value;
    if (url !== "") void compared.load(url);
  });
  effect(() => {
    const url = detailUrl.value;
    if (url !== "") void detail.load(url);
  });
  effect(() => {
    const { value, url } = compared.state.value;
    if (value && url !== "" && url === comparison.value) takeUp(value);
  });
  effect(() => {
    generation.value;
    batch(() => {
      void services.load(apiUrl("services", { from: DEPLOYS_FROM }));
      void types.load(apiUrl("types", { from: "-1d" }));
    });
  });
  effect(() => {
    generation.value;
    if (service.value) void deploys.load(apiUrl("deploys", { service: service.value, from: DEPLOYS_FROM }));
  });
  effect(() => {
    if (!noAgent.value) return;
    const timer = setInterval(refresh, AWAIT_SECONDS * 1000);
    return () => clearInterval(timer);
  });
}

/** Whether a selector can be read: only then can a label in it be changed. */
export const isReadable = (query: string) => Array.isArray(parseSelector(query));
