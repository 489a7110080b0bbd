import type { ComponentChildren } from "preact";
import { formatSpan } from "../data/time";
import { Header } from "../explore/Header";
import { Icon, Logo } from "../explore/icons";

interface ListingProps {
  title: string;
  /** Seconds to choose from, and those chosen. */
  windows: readonly number[];
  window: number;
  onWindow: (window: number) => void;
  refresh: () => void;
  /** What stands beside the title. */
  find?: ComponentChildren;
  children: ComponentChildren;
}

/** A page that lists something of a window of time: its bar, and what it lists. */
export function Listing({ title, windows, window, onWindow, refresh, find, children }: ListingProps) {
  return (
    <div class="hosts">
      <Header />
      <main class="explore-main">
        <div class="hosts-bar">
          <h1>{title}</h1>
          {find}
          <span class="spacer" />
          <label class="control select"><span class="control-key">Last</span>
            <select value={window} aria-label="Window" data-testid="window" onChange={(e) => onWindow(Number(e.currentTarget.value))}>
              {windows.map((w) => <option key={w} value={w}>{formatSpan(w)}</option>)}
            </select>
          </label>
          <button type="button" class="control" title="Load again" aria-label="Load again" onClick={refresh}><Icon name="refresh" /></button>
        </div>
        <div class="hosts-main">{children}</div>
      </main>
    </div>
  );
}

/** What stands in the list's place before its first answer. */
export function NoAnswer({ what, error, refresh }: { what: string; error: Error | null; refresh: () => void }) {
  if (!error) return <p class="notice quiet" role="status">Loading the {what}…</p>;
  return <div class="notice error" role="alert"><h2>No answer to show</h2><p>{error.message}</p><button type="button" class="control primary" onClick={refresh}>Retry</button></div>;
}

/** Says that the list is older than it should be. */
export function Stale({ error }: { error: Error | null }) {
  return error && <p class="hosts-stale" role="alert">Could not refresh: {error.message}</p>;
}

/** What to do where no agent has sent anything. */
export function NoAgent({ title, hint, children }: { title: string; hint: string; children?: ComponentChildren }) {
  return (
    <div class="notice" data-testid="empty">
      <Logo />
      <h2>{title}</h2>
      <p>{hint}</p>
      <pre><code>flamekeeper agent --collector {location.origin}</code></pre>
      <p class="quiet">On this host alone, collector and agent together: <code>flamekeeper up</code></p>
      {children}
    </div>
  );
}

interface SortHeadProps {
  /** Its words, and what they mean. */
  title: readonly [text: string, title: string];
  text: boolean;
  /** Whether the list is sorted by it, and which way. */
  on: boolean;
  descending: boolean;
  onSort: () => void;
}

/** The head of a column, by which the list can be sorted. */
export function SortHead({ title: [words, title], text, on, descending, onSort }: SortHeadProps) {
  return (
    <th scope="col" aria-sort={on ? (descending ? "descending" : "ascending") : "none"} class={text ? "" : "numeric"}>
      <button type="button" title={title} onClick={onSort}>{words}{on && <span aria-hidden="true">{descending ? " ↓" : " ↑"}</span>}</button>
    </th>
  );
}
