import type { ComponentChildren } from "preact";

interface ChoiceProps {
  label: string;
  value: string;
  /** The hint is a key, or a few words. */
  options: [value: string, text: string, hint: string][];
  onChange: (value: string) => void;
  /** A menu at the end: a choice that asks for more. */
  children?: ComponentChildren;
}

/** Buttons of which one is pressed. */
export function Choice({ label, value, options, onChange, children }: ChoiceProps) {
  return (
    <div class="group" role="group" aria-label={label}>
      {options.map(([id, text, hint]) => (
        <button type="button" key={id} class="control" aria-pressed={id === value} title={`${text}: ${hint}`} data-choice={id} onClick={() => onChange(id)}>{text}</button>
      ))}
      {children}
    </div>
  );
}
