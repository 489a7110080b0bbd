/** Label selectors: `{service="api", host=~"web-.*"}`. */

export interface Matcher {
  readonly label: string;
  readonly op: "=" | "!=" | "=~" | "!~";
  readonly value: string;
}

const MATCHER = /^\s*([A-Za-z_][\w.]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*/;

/** The matchers, or what is wrong and how it should look. An empty text selects everything. */
export function parseSelector(text: string): Matcher[] | { error: string } {
  let rest = text.trim();
  if (rest === "" || rest === "{}") return [];
  if (rest.startsWith("{")) {
    if (!rest.endsWith("}")) return { error: "the closing } is missing" };
    rest = rest.slice(1, -1);
  }
  const matchers: Matcher[] = [];
  while (rest.trim() !== "") {
    const found = MATCHER.exec(rest);
    if (!found) return { error: `write label="value", separated by commas; not understood: ${rest.trim().slice(0, 40)}` };
    matchers.push({ label: found[1], op: found[2] as Matcher["op"], value: found[3].replace(/\\(.)/g, "$1") });
    rest = rest.slice(found[0].length);
    if (rest.startsWith(",")) rest = rest.slice(1);
    else if (rest !== "") return { error: `a comma is missing before ${rest.slice(0, 40)}` };
  }
  return matchers;
}

/** The canonical text; empty when there is nothing to select by. */
export function formatSelector(matchers: readonly Matcher[]): string {
  if (matchers.length === 0) return "";
  const quote = (value: string) => `"${value.replace(/["\\]/g, "\\$&")}"`;
  return `{${matchers.map((m) => `${m.label}${m.op}${quote(m.value)}`).join(", ")}}`;
}

/** The value a label is fixed to by `=`, or null. */
export function selectedValue(text: string, label: string): string | null {
  const matchers = parseSelector(text);
  if (!Array.isArray(matchers)) return null;
  return matchers.find((m) => m.label === label && m.op === "=")?.value ?? null;
}

/** The selector with the label fixed to the value, or freed of it by null; a broken selector is replaced. */
export function withValue(text: string, label: string, value: string | null): string {
  const parsed = parseSelector(text);
  const others = Array.isArray(parsed) ? parsed.filter((m) => m.label !== label) : [];
  return formatSelector(value === null ? others : [{ label, op: "=", value }, ...others]);
}
