import type { Deploy } from "../data/answers";
import { LEFT, RIGHT } from "../chart/chart";
import { deployText, deployUrl, labelRoom, markersOf, shortVersion } from "../data/deploys";
import { formatLocal } from "../data/time";

// Share of the axis that a flag takes.
const GAP = 0.05;

/** Where versions changed, over the time series: each leads to what changed with it. `named` where they are of several services. */
export function DeployMarkers({ deploys, from, to, named }: { deploys: readonly Deploy[]; from: number; to: number; named: boolean }) {
  const markers = markersOf(deploys, from, to, GAP);
  const rooms = labelRoom(markers);
  return (
    <div class="deploys" data-testid="deploys">
      {markers.map(({ at, deploys: here }, i) => {
        const newest = here[here.length - 1];
        const label = here.length > 1 ? `${here.length} deploys` : newest.kind === "mark" ? newest.text || "mark" : `${named ? `${newest.service} ` : ""}${shortVersion(newest.version)}`;
        return (
          <div key={`${newest.at}${newest.service}`} class={`deploy deploy-${newest.kind} ${rooms[i].late ? "deploy-late" : ""}`} style={{ left: `calc(${LEFT}px + (100% - ${LEFT + RIGHT}px) * ${at})` }}>
            <a href={deployUrl(newest)} style={{ maxWidth: `min(150px, calc((100cqw - ${LEFT + RIGHT}px) * ${rooms[i].room} - 3px))` }} onPointerDown={(e) => e.stopPropagation()} title={`${here.map((d) => `${formatLocal(d.at, Date.now() / 1000)} ${deployText(d)}`).join("\n")}\nClick for what changed with ${here.length > 1 ? "the last of them" : "it"}`} aria-label={`${label}: what changed with the ${deployText(newest)}`}>{label}</a>
          </div>
        );
      })}
    </div>
  );
}
