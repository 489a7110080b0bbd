/** Who asks: the collector may want a token before it answers. The page never keeps it: the collector gives a cookie for it that scripts cannot read. */
import { signal } from "@preact/signals";

/** Whether the collector turned a question away for want of a token. */
export const tokenWanted = signal(false);

/** Gives the collector a token. The answer is null when it was taken, else why not. */
export async function giveToken(token: string): Promise<string | null> {
  let response: Response;
  try {
    response = await fetch("/api/v1/session", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ token }) });
  } catch {
    return `The collector at ${location.host} does not answer. Retry in a moment.`;
  }
  if (response.ok) return null;
  try {
    const { error } = (await response.json()) as { error?: unknown };
    if (typeof error === "string") return error;
  } catch {
    // Not the collector's own error: say what is known.
  }
  return `The collector answered with status ${response.status}.`;
}
