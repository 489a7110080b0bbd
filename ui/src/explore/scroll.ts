/** Scrolls a list of rows of one height, in CSS pixels, until a row is in view below its sticky heading. */
export function scrollToRow(list: HTMLElement, row: number, height: number, heading = 0): void {
  const top = row * height;
  const page = list.clientHeight - heading;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + height > list.scrollTop + page) list.scrollTop = top + height - page;
}
