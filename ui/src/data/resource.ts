import { signal, type ReadonlySignal } from "@preact/signals";
import { getJson } from "./api";

/** What is known of an answer. A stale value stays while the next one loads, so that the page never blinks. */
export interface Loaded<T> {
  readonly value: T | null;
  readonly error: Error | null;
  readonly loading: boolean;
  /** Bytes received of the answer under way. */
  readonly bytes: number;
  /** The address the value came from. */
  readonly url: string;
}

/** One endpoint's latest answer: a new request aborts the one under way. */
export class Resource<Answer, T> {
  readonly #state = signal<Loaded<T>>({ value: null, error: null, loading: false, bytes: 0, url: "" });
  #abort: AbortController | null = null;
  #pending = "";

  constructor(private readonly decode: (answer: Answer) => T) {}

  get state(): ReadonlySignal<Loaded<T>> {
    return this.#state;
  }

  /** Requests the address, unless that very request is under way. */
  async load(url: string): Promise<void> {
    if (this.#pending === url) return;
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.#pending = url;
    this.#state.value = { ...this.#state.peek(), loading: true, bytes: 0 };
    try {
      const answer = await getJson<Answer>(url, abort.signal, (bytes) => this.#progress(abort, bytes));
      if (this.#abort !== abort) return;
      this.#state.value = { value: this.decode(answer), error: null, loading: false, bytes: 0, url };
    } catch (cause) {
      if (this.#abort !== abort) return;
      const error = cause instanceof Error ? cause : new Error(String(cause));
      this.#state.value = { ...this.#state.peek(), error, loading: false };
    } finally {
      if (this.#abort === abort) this.#pending = "";
    }
  }

  /** Forgets the value and aborts what is under way. */
  clear(): void {
    this.#abort?.abort();
    this.#abort = null;
    this.#pending = "";
    this.#state.value = { value: null, error: null, loading: false, bytes: 0, url: "" };
  }

  #progress(abort: AbortController, bytes: number): void {
    if (this.#abort === abort) this.#state.value = { ...this.#state.peek(), bytes };
  }
}
