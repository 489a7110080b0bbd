import { batch, computed, effect, signal } from "@preact/signals";
import { apiUrl, type Parameters } from "../data/api";
import type { DeploysAnswer, LabelsAnswer, ServicesAnswer, StatusAnswer, TimeseriesAnswer, TopAnswer, TypesAnswer, FlamegraphAnswer } from "../data/answers";
import { decodeProfile, timed, type Profile } from "../data/decode";
import { formatPath, isPruned, parsePath, pathOf, pathParameter, resolvePath, type FramePath } from "../data/path";
import { graphTypes } from "../data/heatmap";
import { Resource } from "../data/resource";
import { cutBelow, functionsOf } from "../data/functions";
import { selectedValue } from "../data/selector";
import { applyTransforms, formatTransforms, parseTransforms, type Transform, type Transformed } from "../data/transform";
import { formatState, parseState, type ExploreState } from "../data/url";
import { searchIn } from "../flame/search";
import { Address } from "./address";
import type { Graph } from "./graph";

/** Seconds between refreshes in live mode. */
export const LIVE_SECONDS = 10;

/** Seconds between looks while the first samples are awaited. */
const AWAIT_SECONDS = 3;

const identity = <T>(answer: T): T => answer;

const decodeTimed = timed(decodeProfile);

const address = new Address<ExploreState>(parseState, formatState);

/** What the address says. */
export const { state, undoable } = address;

/** Changes the state: `push` makes a step that Back undoes, `replace` does not. */
export function go(change: Partial<ExploreState>, how: "push" | "replace" = "push"): void {
  address.go(change, how);
}

export const services = new Resource<ServicesAnswer, ServicesAnswer>(identity);
export const types = new Resource<TypesAnswer, TypesAnswer>(graphTypes);
export const labels = new Resource<LabelsAnswer, LabelsAnswer>(identity);
export const series = new Resource<TimeseriesAnswer, TimeseriesAnswer>(identity);
export const top = new Resource<TopAnswer, TopAnswer>(identity);
export const status = new Resource<StatusAnswer, StatusAnswer>(identity);
const deployed = new Resource<DeploysAnswer, DeploysAnswer>(identity);
/** Deploys of the service that is selected, else of all, in the window. */
export const deploys = computed(() => deployed.state.value.value?.deploys ?? null);
/** The flamegraph of the whole selection. */
const whole = new Resource<FlamegraphAnswer, Profile>(decodeTimed);
/** The exact flamegraph under the zoomed path, where the whole one was pruned there. */
const detail = new Resource<FlamegraphAnswer, Profile>(decodeTimed);
/** The whole selection with narrow functions too: what transforms, callers and callees are worked out from. */
const fine = new Resource<FlamegraphAnswer, Profile>(decodeTimed);

/** The whole flamegraph's state: for loading, errors, and shares of all. */
export const wholeState = whole.state;
export const detailState = detail.state;
export const fineState = fine.state;

/** Changes what is looked at; a zoom into the old graph means nothing in the new one, unless it is asked to stay. */
export function reselect(change: Partial<ExploreState>): void {
  go({ path: [], ...change });
}

// A deliberate reload of everything: live mode, or Retry.
const generation = signal(0);

/** Requests everything anew. */
export function refresh(): void {
  generation.value++;
}

// Signals of primitives, so that a zoom does not request what it does not change.
const selection = computed(() => {
  const { query, from, to, type } = state.value;
  return JSON.stringify({ query, from, to, type });
});
const by = computed(() => state.value.by);
const generics = computed(() => (state.value.generics === "fold" ? "fold" : ""));
const zoomText = computed(() => formatPath(state.value.path));
const zoomPath = computed(() => parsePath(zoomText.value));
const searchText = computed(() => state.value.search);
const wantsTable = computed(() => state.value.view !== "flame");
// The share of the view below which functions are left out of a graph that the page works out itself: fine enough to be exact
// for most windows, and a bound for the others.
const FINE = 0.00001;
const fineShare = computed(() => (state.value.whole ? 0 : state.value.transforms.length > 0 || state.value.pane === "callers" ? FINE : null));
const transformsText = computed(() => formatTransforms(state.value.transforms));
const transforms = computed(() => parseTransforms(transformsText.value));

/** The parameters every request about the selection shares. */
export function selectionParameters(): Parameters {
  return JSON.parse(selection.value) as Parameters;
}

/** The same for what has functions. */
function graphParameters(): Parameters {
  return { ...selectionParameters(), generics: generics.value };
}

/**
 * The parameters of what is on the page, its window pinned to the times the answer covers: what is asked for
 * afterwards (detail, table, export) then shows the very same samples, however much later it is asked.
 */
export function answeredParameters(): Parameters {
  const profile = wholeProfile.value;
  if (!profile) return graphParameters();
  const asked = new URLSearchParams(answeredUrl.value.split("?")[1] ?? "");
  return { query: asked.get("query") ?? "", type: asked.get("type") ?? "", generics: asked.get("generics") ?? "", from: profile.from, to: profile.to };
}

/** Whether the page still shows the answer to an earlier question. */
export const stale = computed(() => whole.state.value.loading && answeredUrl.value !== "" && answeredUrl.value !== apiUrl("flamegraph", graphParameters()));

// By identity, so that progress of a request under way does not lay out anew.
const wholeProfile = computed(() => whole.state.value.value);
const answeredUrl = computed(() => whole.state.value.url);
const detailProfile = computed(() => detail.state.value.value);
const detailLoadedFrom = computed(() => detail.state.value.url);
const fineProfile = computed(() => fine.state.value.value);
const fineLoadedFrom = computed(() => fine.state.value.url);

/** The address of the answer with narrow functions; empty where nothing is worked out, or nothing was left out. */
const fineUrl = computed(() => {
  const profile = wholeProfile.value;
  const share = fineShare.value;
  if (!profile || share === null || !isPruned(profile.tree, 0)) return "";
  return apiUrl("flamegraph", { ...answeredParameters(), min_share: share });
});

/** What the graph is made of: the finest answer about the whole selection that is there and wanted. */
const base = computed(() => (fineProfile.value && fineUrl.value !== "" && fineLoadedFrom.value === fineUrl.value ? fineProfile.value : wholeProfile.value));

/** What 100 per cent of all is: the whole selection, before transforms. */
export const allTotal = computed(() => base.value?.tree.total[0] ?? 0);

/** What the transforms made of the whole selection's call tree; null without transforms or an answer. */
export const transformed = computed<(Transformed & { profile: Profile }) | null>(() => {
  const profile = base.value;
  if (!profile || transforms.value.length === 0) return null;
  const result = applyTransforms(profile.tree, transforms.value);
  return { ...result, profile: { ...profile, tree: result.tree } };
});

/** The call tree to draw: what transforms made of the whole; without them the exact detail under the zoom where it has arrived. */
export const shown = computed<{ profile: Profile; node: number; exact: boolean } | null>(() => {
  const profile = transformed.value?.profile ?? base.value;
  if (!profile) return null;
  const path = zoomPath.value;
  const exact = detailProfile.value;
  if (path.length > 0 && transforms.value.length === 0 && exact && detailLoadedFrom.value === detailUrl.value) {
    const { node, found } = resolvePath(exact.tree, path);
    if (found === path.length) return { profile: exact, node, exact: true };
  }
  const { node, found } = resolvePath(profile.tree, path);
  return { profile, node, exact: found === path.length && !isPruned(profile.tree, node) };
});

/** The address of the exact answer under the zoom; empty where the whole answer is already exact there. */
const detailUrl = computed(() => {
  const profile = base.value;
  const path = zoomPath.value;
  if (!profile || path.length === 0 || transforms.value.length > 0) return "";
  const { node, found } = resolvePath(profile.tree, path);
  if (found === path.length && !isPruned(profile.tree, node)) return "";
  return apiUrl("flamegraph", { ...answeredParameters(), path: pathParameter(path) });
});

/** What the server cut below the node in view. */
export const cutInView = computed(() => (shown.value ? cutBelow(shown.value.profile.tree, shown.value.node) : 0));

/** The functions of the table: the server's, from every stack; where there are transforms, those of what they made. */
export const functions = computed<Pick<TopAnswer, "functions" | "total" | "unit"> | null>(() => {
  const made = transformed.value;
  if (transforms.value.length === 0) return top.state.value.value;
  return made && { functions: functionsOf(made.tree), total: made.tree.total[0], unit: made.profile.unit };
});

// The graph as the flamegraph and its keys know it.
const seen = computed(() => shown.value && { tree: shown.value.profile.tree, node: shown.value.node });

/** What Explore shows, as the flamegraph, the keys and the search know it. */
export const graph: Graph = {
  shown: seen,
  found: computed(() => searchIn(seen.value, searchText.value)),
  search: searchText,
  direction: computed(() => state.value.direction),
  zoomTo: (path) => zoomTo(path),
  searchFor: (text) => go({ search: text }, "replace"),
};

/** The window the last answer covers, in unix seconds. */
export const answeredWindow = computed(() => {
  const profile = wholeProfile.value;
  return profile ? { from: profile.from, to: profile.to } : null;
});

// Where no service has anything up to now, the page fills by itself as soon as an agent reports.
const awaiting = computed(() => services.state.value.value?.services.length === 0 && state.value.to === "now");

/** Starts requesting whatever the state asks for. */
export function start(): void {
  effect(() => {
    generation.value;
    const p = selectionParameters();
    const window = { from: p.from, to: p.to };
    batch(() => {
      void services.load(apiUrl("services", window));
      void types.load(apiUrl("types", window));
      void labels.load(apiUrl("labels", window));
      void deployed.load(apiUrl("deploys", { ...window, service: selectedValue(String(p.query), "service") ?? "" }));
    });
  });
  effect(() => {
    generation.value;
    void whole.load(apiUrl("flamegraph", graphParameters()));
  });
  effect(() => {
    generation.value;
    void series.load(apiUrl("timeseries", { ...selectionParameters(), by: by.value }));
  });
  effect(() => {
    // After the flamegraph, and of the same window, so that their shares agree.
    const profile = wholeProfile.value;
    if (profile && wantsTable.value && transforms.value.length === 0) void top.load(apiUrl("top", { ...answeredParameters(), limit: 0 }));
  });
  effect(() => {
    // Read so that a refreshed whole refreshes its detail too.
    wholeProfile.value;
    const url = detailUrl.value;
    if (url !== "") void detail.load(url);
  });
  effect(() => {
    const url = fineUrl.value;
    if (url !== "") void fine.load(url);
  });
  effect(() => {
    const profile = wholeProfile.value;
    if (profile && profile.completeness.samples === 0) void status.load(apiUrl("status", {}));
  });
  effect(() => {
    const seconds = state.value.live ? LIVE_SECONDS : awaiting.value ? AWAIT_SECONDS : 0;
    if (seconds === 0) return;
    const timer = setInterval(refresh, seconds * 1000);
    return () => clearInterval(timer);
  });
}

/** Makes one function of those that differ by their type arguments alone, or parts them again; a zoom goes by names, which are others then. */
export function switchGenerics(): void {
  reselect({ generics: state.peek().generics === "fold" ? "keep" : "fold" });
}

/** The path of the zoom. */
export function zoomTo(path: FramePath, how: "push" | "replace" = "push"): void {
  go({ path }, how);
}

/** Does one thing more to the tree; the zoom stays on its node, or on the nearest caller that is left. */
export function transform(one: Transform): void {
  const view = shown.peek();
  if (!view) return;
  const { tree, at } = applyTransforms(view.profile.tree, [one]);
  let node = view.node;
  while (node > 0 && at[node] < 0) node = view.profile.tree.parent[node];
  go({ transforms: [...state.peek().transforms, one], path: pathOf(tree, Math.max(0, at[node])) });
}

/** Takes back one of the transforms; the others stay. */
export function untransform(index: number): void {
  go({ transforms: state.peek().transforms.filter((_, i) => i !== index), path: [] });
}

/** Asks for every function, however narrow. */
export function loadAll(): void {
  go({ whole: true });
}
