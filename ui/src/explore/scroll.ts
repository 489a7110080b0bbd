import { useEffect, useState } from "preact/hooks";

/** Scrolls a list of rows of one height, in CSS pixels, until a row is in view below its sticky heading. */
export function scrollToRow(list: HTMLElement, row: number, height: number, heading = 0): void {
  const top = row * height;
  const page = list.clientHeight - heading;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + height > list.scrollTop + page) list.scrollTop = top + height - page;
}

/** How far a list is scrolled, and how high it is, in CSS pixels. */
export function useViewport(body: { current: HTMLDivElement | null }) {
  const [viewport, setViewport] = useState({ scroll: 0, height: 600 });
  useEffect(() => {
    const element = body.current;
    if (!element) return;
    const measure = () => setViewport({ scroll: element.scrollTop, height: element.clientHeight });
    const size = new ResizeObserver(measure);
    size.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => {
      size.disconnect();
      element.removeEventListener("scroll", measure);
    };
  }, []);
  return viewport;
}
