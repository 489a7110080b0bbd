import type { Profile } from "../data/decode";
import { formatRate, formatShare, formatValue, isLevel } from "../data/units";
import { hovered, selected } from "./focus";
import { allTotal, shown, state } from "./store";

// Why a function has no name, by the reason in the answer, and what helps.
const NO_NAME: Record<string, string> = {
  no_symbols: "no name: no symbols have arrived for this file; those that come later will name it",
  not_covered: "no name: the symbols of this file name nothing here",
  bad_symbols: "no name: the symbols of this file could not be read",
  no_build_id: "no name: this file has no build id to find symbols by",
  no_mapping: "no name: no file is mapped here",
};

/** The line that is always there: what the mouse is on, else the keyboard, else the zoom. */
export function Details() {
  const view = shown.value;
  if (!view || view.profile.tree.total[0] === 0) return <div class="details" data-testid="details" />;
  const { profile } = view;
  const { tree } = profile;
  const mouse = hovered.value;
  if (mouse && mouse.tree === tree && mouse.hit.dust) return <Dust profile={profile} node={mouse.hit.node} zoom={view.node} />;
  const node = mouse && mouse.tree === tree ? mouse.hit.node : selected.value >= 0 && selected.value < tree.count ? selected.value : view.node;
  const frame = tree.frame[node];
  const { frames } = tree;
  const name = node === 0 ? "all" : frames.name[frame] || "(no name)";
  const place = frames.file[frame] ? `${frames.file[frame]}${frames.line[frame] > 0 ? `:${frames.line[frame]}` : ""}` : "";
  return (
    <div class="details" data-testid="details">
      <div class="what">
        <strong class="what-name">{name}</strong>
        <span class="what-place">
          {node > 0 && <span>{frames.module[frame] || "no module"}</span>}
          {place && <span class="mono">{place}</span>}
          {node > 0 && <span>{frames.kind[frame]}</span>}
          {frames.unnamed?.[frame] && <span>{NO_NAME[frames.unnamed[frame]] ?? `no name: ${frames.unnamed[frame].replaceAll("_", " ")}`}</span>}
        </span>
      </div>
      <Amounts profile={profile} label="self" value={tree.self[node]} zoom={view.node} />
      <Amounts profile={profile} label="total" value={tree.total[node]} zoom={view.node} />
    </div>
  );
}

function Amounts({ profile, label, value, zoom }: { profile: Profile; label: string; value: number; zoom: number }) {
  const view = profile.tree.total[zoom];
  const all = allTotal.value;
  return (
    <dl class="amounts">
      <dt>{label}</dt>
      <dd class="amount-value">{formatValue(value, profile.unit)}</dd>
      <dd>{formatShare(value / view)} <span>of view</span></dd>
      <dd>{formatShare(value / all)} <span>of all</span></dd>
      {!isLevel(state.value.type) && <dd>{formatRate(value, profile.unit, profile.to - profile.from)}</dd>}
    </dl>
  );
}

function Dust({ profile, node, zoom }: { profile: Profile; node: number; zoom: number }) {
  const { tree } = profile;
  const name = tree.frames.name[tree.frame[node]] || "all";
  return (
    <div class="details" data-testid="details">
      <div class="what">
        <strong class="what-name">narrower than a pixel</strong>
        <span class="what-place"><span>functions called by {name}; click to zoom in and see each of them</span></span>
      </div>
      <Amounts profile={profile} label="caller" value={tree.total[node]} zoom={zoom} />
    </div>
  );
}
