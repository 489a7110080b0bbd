import { signal } from "@preact/signals";
import { apiUrl, getJson } from "../data/api";
import type { FlamegraphAnswer } from "../data/answers";
import { decodeProfile } from "../data/decode";
import { foldedText, speedscopeFile } from "../data/export";
import { pathParameter, resolvePath } from "../data/path";
import { formatLocal } from "../data/time";
import { applyTransforms } from "../data/transform";
import { answeredParameters, shown, state } from "./store";

/** A file the page makes itself, of what is seen: the tree it was asked for, and where the zoom is in it. */
type Maker = (tree: ReturnType<typeof decodeProfile>["tree"], node: number, unit: string) => string;

const MAKERS: Record<"speedscope" | "folded", { file: string; type: string; make: Maker }> = {
  speedscope: {
    file: "flamekeeper-speedscope.json",
    type: "application/json",
    make: (tree, node, unit) => JSON.stringify(speedscopeFile(tree, node, { name: title(), unit, exporter: "flamekeeper" })),
  },
  folded: { file: "flamekeeper-stacks.folded", type: "text/plain", make: (tree, node) => foldedText(tree, node) },
};

const making = signal<{ what: string; error: string } | null>(null);

/** Everything that can be taken away: of what is seen, and by the server of the selection as it is. */
export function Exports() {
  const { transforms, path } = state.value;
  const changed = transforms.length > 0;
  const parameters = { ...answeredParameters(), path: changed ? "" : pathParameter(path) };
  return (
    <div class="options exports">
      <Made what="speedscope" label="speedscope" hint="for speedscope.app" />
      {changed && <Made what="folded" label="Folded stacks" hint="one stack a line" />}
      {changed && <p class="menu-title">Without what was done to the graph</p>}
      <Served parameters={parameters} format="pprof" label="pprof" hint="for go tool pprof" file="profile.pb.gz" />
      <Served parameters={parameters} format="folded" label="Folded stacks" hint="one stack a line" file="stacks.folded" />
      <Served parameters={parameters} format="svg" label="SVG" hint="a picture to send" file="flamegraph.svg" />
      <Served parameters={parameters} format="json" label="JSON" hint="what this page draws" file="flamegraph.json" />
      {making.value && <p class={making.value.error ? "note" : "quiet"} role="status">{making.value.error || `Making the ${making.value.what} file…`}</p>}
    </div>
  );
}

function Made({ what, label, hint }: { what: keyof typeof MAKERS; label: string; hint: string }) {
  return <button type="button" class="option" data-export={what === "folded" ? "folded-seen" : what} onClick={() => void save(what)}><span class="option-name">{label}</span><span class="quiet">{hint}</span></button>;
}

interface ServedProps {
  parameters: Parameters<typeof apiUrl>[1];
  format: string;
  label: string;
  hint: string;
  file: string;
}

function Served({ parameters, format, label, hint, file }: ServedProps) {
  return <a class="option" href={apiUrl("flamegraph", { ...parameters, format })} download={`flamekeeper-${file}`} data-export={format}><span class="option-name">{label}</span><span class="quiet">{hint}</span></a>;
}

// Files hold every function, however narrow: what is on the page may not.
async function save(what: keyof typeof MAKERS): Promise<void> {
  if (!shown.peek()) return;
  making.value = { what, error: "" };
  const { file, type, make } = MAKERS[what];
  const { transforms, path } = state.peek();
  try {
    const answer = await getJson<FlamegraphAnswer>(apiUrl("flamegraph", { ...answeredParameters(), min_share: 0 }), new AbortController().signal);
    const { tree } = applyTransforms(decodeProfile(answer).tree, transforms);
    const text = make(tree, resolvePath(tree, path).node, answer.unit);
    const url = URL.createObjectURL(new Blob([text], { type }));
    Object.assign(document.createElement("a"), { href: url, download: file }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    making.value = null;
  } catch (cause) {
    making.value = { what, error: cause instanceof Error ? cause.message : String(cause) };
  }
}

function title(): string {
  const { from, to } = answeredParameters();
  const query = state.peek().query || "all services";
  return `${query}, ${formatLocal(Number(from), Number(to))} to ${formatLocal(Number(to), Number(to))}`;
}
