import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "./icons";

interface MenuProps {
  label: ComponentChildren;
  title: string;
  testId?: string;
  class?: string;
  children: (close: () => void) => ComponentChildren;
}

/** A button that opens a panel; Escape and a click elsewhere close it. */
export function Menu({ label, title, testId, class: extra, children }: MenuProps) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return;
    const off = new AbortController();
    document.addEventListener("pointerdown", (e) => {
      if (!root.current?.contains(e.target as Node)) setOpen(false);
    }, { signal: off.signal });
    root.current?.addEventListener("keydown", (e) => {
      if (e.key !== "Escape") return;
      e.stopPropagation();
      setOpen(false);
      root.current?.querySelector("button")?.focus();
    }, { signal: off.signal });
    root.current?.querySelector<HTMLElement>("[data-autofocus]")?.focus();
    return () => off.abort();
  }, [open]);
  return (
    <div class={`menu ${extra ?? ""}`} ref={root}>
      <button type="button" class="control" title={title} aria-haspopup="true" aria-expanded={open} data-testid={testId} onClick={() => setOpen(!open)}>
        {label}
        <Icon name="down" />
      </button>
      {open && <div class="panel">{children(() => setOpen(false))}</div>}
    </div>
  );
}
