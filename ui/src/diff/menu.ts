import { formatPath, pathOf, type FramePath } from "../data/path";
import { DEFAULTS, formatState } from "../data/url";
import { formatTime } from "../data/time";
import { copyText, stackText, type Action } from "../explore/actions";
import type { MenuSubject } from "../explore/menuState";
import { diff, go, graph, state } from "./store";

/** Where Explore shows a side: what is searched here is searched there. */
export function exploreSide(name: "a" | "b", path: FramePath = [], search = state.value.search): string {
  const side = state.value[name];
  const answered = diff.value?.[name];
  const times = answered ? { from: formatTime(answered.from), to: formatTime(answered.to) } : { from: side.from, to: side.to };
  return `/explore${formatState({ ...DEFAULTS, query: side.query, ...times, type: state.value.type, search, path })}`;
}

/** What can be done with a function of the diff, in groups. */
export function menuItems({ name, at }: MenuSubject): Action[][] {
  const here = at && at.tree === graph.shown.peek()?.tree ? at : null;
  const path = here ? pathOf(here.tree, here.node) : [];
  const place: Action[] = here ? [{ id: "zoom", label: "Zoom in", hint: "Enter", run: () => graph.zoomTo(path) }] : [];
  if (name === "") return [place];
  place.push({ id: "search", label: "Search for it", run: () => go({ search: name }, "replace") });
  const explore = (side: "a" | "b") => () => location.assign(exploreSide(side, path, formatPath(path) === "" ? name : ""));
  const copy: Action[] = [{ id: "copy-name", label: "Copy name", run: () => void copyText(name, "name") }];
  if (here) copy.push({ id: "copy-stack", label: "Copy stack", run: () => void copyText(stackText(here), "stack") });
  return [place, [{ id: "explore-a", label: "Explore it in A", run: explore("a") }, { id: "explore-b", label: "Explore it in B", run: explore("b") }], copy];
}
