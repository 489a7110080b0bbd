/** Clipping of labels without measuring each one: the canvas measures each character once. */

const ELLIPSIS = "…";

/** Widths of characters of one font; kerning is off, so that a text is as wide as its characters. */
export class TextMeasure {
  readonly #ascii = new Float64Array(128).fill(-1);
  readonly #other = new Map<string, number>();
  readonly #ellipsis: number;

  constructor(private readonly measure: (text: string) => number) {
    this.#ellipsis = measure(ELLIPSIS);
  }

  /** The longest beginning of the text that fits, with an ellipsis where it is cut; empty where not even two characters fit. */
  fit(text: string, width: number): string {
    let used = 0;
    let keep = 0;
    for (let i = 0; i < text.length; i++) {
      used += this.#char(text, i);
      if (used + this.#ellipsis <= width) keep = i + 1;
      if (used > width) return keep < 2 ? "" : text.slice(0, keep) + ELLIPSIS;
    }
    return text;
  }

  /** Whether the whole text fits. */
  fits(text: string, width: number): boolean {
    let used = 0;
    for (let i = 0; i < text.length && used <= width; i++) used += this.#char(text, i);
    return used <= width;
  }

  #char(text: string, i: number): number {
    const code = text.charCodeAt(i);
    if (code < 128) {
      if (this.#ascii[code] < 0) this.#ascii[code] = this.measure(text[i]);
      return this.#ascii[code];
    }
    let width = this.#other.get(text[i]);
    if (width === undefined) this.#other.set(text[i], (width = this.measure(text[i])));
    return width;
  }
}

/**
 * A function's name without its namespaces, type parameters and arguments, for where the whole one does not fit:
 * `<alloc::vec::Vec<T> as core::iter::Extend<T>>::extend` is `extend`, `std::map<int, A>::find(int const&)` is `map::find`.
 */
export function shortName(name: string): string {
  const flat = withoutNested(name);
  const segments = flat.split("::").filter((s) => s !== "");
  if (segments.length === 0) return name;
  const short = segments.slice(-2).join("::");
  return short.trim() === "" ? name : short.trim();
}

// Drops what stands in <>, () and {{}}; `operator<` and `->` are left alone by giving up on unbalanced text.
function withoutNested(name: string): string {
  let out = "";
  let depth = 0;
  for (const ch of name) {
    if (ch === "<" || ch === "(") depth++;
    else if (ch === ">" || ch === ")") depth--;
    else if (depth === 0) out += ch;
    if (depth < 0) return name;
  }
  return depth === 0 ? out : name;
}
