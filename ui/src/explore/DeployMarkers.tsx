import type { Deploy } from "../data/answers";
import { LEFT, RIGHT } from "../chart/chart";
import { deployText, deployUrl, markersOf, shortVersion } from "../data/deploys";
import { formatLocal } from "../data/time";

// Share of the axis that a flag takes.
const GAP = 0.05;

/** Where versions changed, over the time series: each leads to what changed with it. `named` where they are of several services. */
export function DeployMarkers({ deploys, from, to, named }: { deploys: readonly Deploy[]; from: number; to: number; named: boolean }) {
  return (
    <div class="deploys" data-testid="deploys">
      {markersOf(deploys, from, to, GAP).map(({ at, deploys: here }) => {
        const newest = here[here.length - 1];
        const label = here.length > 1 ? `${here.length} deploys` : newest.kind === "mark" ? newest.text || "mark" : `${named ? `${newest.service} ` : ""}${shortVersion(newest.version)}`;
        return (
          <div key={`${newest.at}${newest.service}`} class={`deploy deploy-${newest.kind} ${at > 0.85 ? "deploy-late" : ""}`} style={{ left: `calc(${LEFT}px + (100% - ${LEFT + RIGHT}px) * ${at})` }}>
            <a href={deployUrl(newest)} onPointerDown={(e) => e.stopPropagation()} title={`${here.map((d) => `${formatLocal(d.at, Date.now() / 1000)} ${deployText(d)}`).join("\n")}\nClick for what changed with ${here.length > 1 ? "the last of them" : "it"}`} aria-label={`${label}: what changed with the ${deployText(newest)}`}>{label}</a>
          </div>
        );
      })}
    </div>
  );
}
