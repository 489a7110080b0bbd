import { effect } from "@preact/signals";
import type { MemoryAnswer, MemoryRow } from "../data/answers";
import { apiUrl } from "../data/api";
import { growthText, memoryUrl, resident } from "../data/memory";
import { Resource } from "../data/resource";
import { areaPath } from "../data/services";
import { formatRelative } from "../data/time";
import { formatBytes } from "../data/units";
import { loaded, state } from "./store";

// Apart from the page: fetched when that is drawn.

const memory = new Resource<MemoryAnswer, Map<string, MemoryRow>>((answer) => new Map(answer.services.map((row) => [row.service, row])));

// With each answer about the services, and so with each window.
effect(() => {
  if (loaded.value.value) void memory.load(apiUrl("memory", { from: formatRelative(state.peek().window), limit: 1000 }));
});

const WIDE = 72;
const HIGH = 24;

/** How much memory a service has, its course, and whether it grows. */
export function MemoryCell({ service }: { service: string }) {
  const row = memory.state.value.value?.get(service);
  if (!row) return <td class="numeric" data-column="memory" />;
  const trend = row.levels.memory_rss ?? [];
  const text = growthText(row);
  return (
    <td class="numeric services-memory" data-column="memory" title={row.evidence}>
      <svg class="trend" width={WIDE} height={HIGH} viewBox={`0 0 ${WIDE} ${HIGH}`} preserveAspectRatio="none" aria-hidden="true"><path d={areaPath(trend, WIDE, HIGH, Math.max(...trend))} /></svg>
      <span class="number">{formatBytes(Math.round(resident(row)))}</span>
      {text && <a class="services-grows" href={memoryUrl(service, formatRelative(state.value.window))}>{text}</a>}
    </td>
  );
}
