import { useEffect, useRef } from "preact/hooks";
import { shortName } from "../flame/text";
import type { Action } from "./actions";
import { menu, type MenuSubject } from "./menuState";

/** What can be done with the subject, in groups. */
type Items = (subject: MenuSubject) => Action[][];

/** The menu of a function, over the page. Arrow keys, Enter and Escape work as in any menu. */
export function ContextMenu({ items }: { items: Items }) {
  const subject = menu.value;
  return subject && <OpenMenu key={`${subject.x},${subject.y}`} subject={subject} items={items} />;
}

function close(subject: MenuSubject): void {
  menu.value = null;
  subject.opener?.focus({ preventScroll: true });
}

function OpenMenu({ subject, items }: { subject: MenuSubject; items: Items }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    keepInside(element, subject);
    element.querySelector<HTMLElement>("[role=menuitem]")?.focus({ preventScroll: true });
    const off = new AbortController();
    const elsewhere = (e: Event) => {
      if (!element.contains(e.target as Node)) menu.value = null;
    };
    for (const event of ["pointerdown", "wheel"]) document.addEventListener(event, elsewhere, { signal: off.signal, capture: true });
    window.addEventListener("blur", () => (menu.value = null), { signal: off.signal });
    return () => off.abort();
  }, []);
  return (
    <div ref={box} class="panel context-menu" role="menu" aria-label={`What to do with ${subject.name || "all"}`} data-testid="context-menu" onKeyDown={(e) => onKey(e, subject)} onContextMenu={(e) => e.preventDefault()}>
      <p class="menu-title" role="presentation" title={subject.name}>{subject.name === "" ? "all" : shortName(subject.name)}</p>
      {items(subject).map((group, i) => (
        <div key={i} class="menu-group" role="group">
          {group.map(({ label, hint, id, run }) => (
            <button type="button" key={id} class="option" role="menuitem" tabIndex={-1} data-action={id} onClick={() => { close(subject); run(); }}>
              <span>{label}</span>{hint && <span class="quiet">{hint}</span>}
            </button>
          ))}
        </div>
      ))}
    </div>
  );
}

function keepInside(element: HTMLElement, { x, y }: MenuSubject): void {
  const { width, height } = element.getBoundingClientRect();
  element.style.left = `${Math.max(4, Math.min(x, innerWidth - width - 4))}px`;
  element.style.top = `${Math.max(4, Math.min(y, innerHeight - height - 4))}px`;
}

function onKey(e: KeyboardEvent, subject: MenuSubject): void {
  // Keys of the page mean nothing while a menu is open.
  e.stopPropagation();
  const items = [...(e.currentTarget as HTMLElement).querySelectorAll<HTMLElement>("[role=menuitem]")];
  const at = items.indexOf(document.activeElement as HTMLElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1 + items.length, Home: 0, End: items.length - 1 }[e.key];
  if (to !== undefined) items[to % items.length]?.focus();
  else if (e.key === "Escape" || e.key === "Tab") close(subject);
  else return;
  e.preventDefault();
}
