import { computed, signal, type ReadonlySignal, type Signal } from "@preact/signals";

/** What the browser keeps with an entry of its history: how many steps of this page lie before it, and what its page wants to remember. */
interface Kept {
  readonly steps: number;
  readonly note: string;
}

function kept(): Kept {
  return { steps: 0, note: "", ...(history.state as Partial<Kept> | null) };
}

/** A page's state that is its address: Back and Forward lead through it. */
export class Address<S> {
  /** What the address says. */
  readonly state: Signal<S>;
  /** What was noted with it: it survives reloading and Back, and is not in the address. */
  readonly note = signal(kept().note);
  /** Whether there is a change to undo; one step more would leave the page. */
  readonly undoable: ReadonlySignal<boolean>;
  readonly #steps = signal(kept().steps);

  constructor(parse: (search: string) => S, private readonly format: (state: S) => string) {
    this.state = signal(parse(location.search));
    this.undoable = computed(() => this.#steps.value > 0);
    window.addEventListener("popstate", () => {
      this.state.value = parse(location.search);
      this.#recall();
    });
  }

  /** Changes the state: `push` makes a step that Back undoes, `replace` does not. The note stays unless there is another. */
  go(change: Partial<S>, how: "push" | "replace" = "push", note = this.note.peek()): void {
    const next = { ...this.state.peek(), ...change };
    const address = location.pathname + this.format(next);
    if (address !== location.pathname + location.search) {
      const { steps } = kept();
      if (how === "push") history.pushState({ steps: steps + 1, note }, "", address);
      else history.replaceState({ steps, note }, "", address);
      this.#recall();
    }
    this.state.value = next;
  }

  #recall(): void {
    const { steps, note } = kept();
    this.#steps.value = steps;
    this.note.value = note;
  }
}
