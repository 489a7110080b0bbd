/** Requests to the collector, on the origin the page came from. */
import { tokenWanted } from "./session";

/** A request that gave no usable answer; the message says what to do next. */
export class ApiError extends Error {
  constructor(
    message: string,
    /** The HTTP status, or 0 when the collector could not be reached. */
    readonly status: number,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

export type Parameters = Readonly<Record<string, string | number | undefined>>;

/** The address of an endpoint with its parameters; empty ones are left out. */
export function apiUrl(endpoint: string, parameters: Parameters): string {
  const p = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== "") p.set(key, String(value));
  }
  const query = p.toString();
  return `/api/v1/${endpoint}${query === "" ? "" : `?${query}`}`;
}

/** Fetches and parses JSON. Throws ApiError, or the AbortError of the signal. */
export async function getJson<T>(url: string, signal: AbortSignal, onBytes?: (bytes: number) => void): Promise<T> {
  const response = await request(url, signal);
  if (response.status === 401) tokenWanted.value = true;
  const body = await readText(response, onBytes);
  if (!response.ok) throw new ApiError(refusal(response.status, body), response.status);
  try {
    return JSON.parse(body) as T;
  } catch {
    throw new ApiError(`The answer to ${url.split("?")[0]} is not JSON. Is something other than the collector answering at ${location.host}?`, response.status);
  }
}

async function request(url: string, signal: AbortSignal): Promise<Response> {
  try {
    return await fetch(url, { signal, headers: { accept: "application/json" } });
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw new ApiError(`The collector at ${location.host} does not answer. Check that “flamekeeper collector” (or “flamekeeper up”) is running there, then retry.`, 0);
  }
}

// Reads by chunks only where somebody watches the progress: `text()` is faster.
async function readText(response: Response, onBytes?: (bytes: number) => void): Promise<string> {
  if (!onBytes || !response.body) return response.text();
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const parts: string[] = [];
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes += value.byteLength;
    onBytes(bytes);
    parts.push(decoder.decode(value, { stream: true }));
  }
  parts.push(decoder.decode());
  return parts.join("");
}

function refusal(status: number, body: string): string {
  try {
    const { error } = JSON.parse(body) as { error?: unknown };
    if (typeof error === "string" && error !== "") return error;
  } catch {
    // Not the collector's own error: say what is known.
  }
  if (status === 429 || status === 503) return "The collector is busy. Retry in a moment, or choose a shorter window.";
  return `The collector answered with status ${status}. Its log says why.`;
}
