import { useState } from "preact/hooks";
import { parseSelector } from "../data/selector";

/** A label selector that is taken up when it is whole: on Enter, or when the field is left. */
export function SelectorField({ query, label, onChange }: { query: string; label: string; onChange: (query: string) => void }) {
  const [draft, setDraft] = useState<string | null>(null);
  const parsed = draft === null ? [] : parseSelector(draft);
  const error = Array.isArray(parsed) ? null : parsed.error;
  const commit = () => {
    if (draft !== null && error === null && draft !== query) onChange(draft.trim());
    if (error === null) setDraft(null);
  };
  return (
    <label class={`selector ${error ? "wrong" : ""}`}>
      <span class="visually-hidden">{label}</span>
      <input type="text" class="control mono" spellcheck={false} autocomplete="off" data-testid="selector" placeholder='all labels — try {host="web-1", version!="1.4"}'
        value={draft ?? query} onInput={(e) => setDraft(e.currentTarget.value)} onBlur={commit} aria-invalid={error !== null}
        onKeyDown={(e) => { if (e.key === "Enter") commit(); if (e.key === "Escape") { setDraft(null); e.currentTarget.blur(); } }} />
      {error && <span class="field-error" role="alert">{error}</span>}
    </label>
  );
}
