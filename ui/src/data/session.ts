/** Who asks: the collector may want a token before it answers. The page never keeps it: the collector gives a cookie for it that scripts cannot read. */
import { signal } from "@preact/signals";

/** Whether the collector turned a question away for want of a token. */
export const tokenWanted = signal(false);

/** Whether the collector knows who asks by the page's cookie, which can be taken back. */
export const signedIn = signal(false);

/** Asks who the collector takes this browser for. Where that has no answer the page asks its own questions, and tells what is wrong. */
export async function askSession(): Promise<void> {
  try {
    const response = await fetch("/api/v1/session");
    signedIn.value = response.ok && ((await response.json()) as { signed_in?: unknown }).signed_in === true;
  } catch {
    signedIn.value = false;
  }
}

/** Has the cookie taken back, and begins anew; stays as it is where the collector does not answer. */
export async function signOut(): Promise<void> {
  const response = await fetch("/api/v1/session", { method: "DELETE" }).catch(() => null);
  if (response?.ok) location.reload();
}

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
