import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { giveToken, tokenWanted } from "../data/session";
import { Logo } from "../explore/icons";

const refused = signal<string | null>(null);
const busy = signal(false);

/** Asks for a token over the whole page, where the collector wants one; the page begins anew with it. */
export function SignIn() {
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const wanted = tokenWanted.value;
  useEffect(() => {
    if (wanted && !dialog.current?.open) dialog.current?.showModal();
  }, [wanted]);
  const give = async (event: Event) => {
    event.preventDefault();
    busy.value = true;
    refused.value = await giveToken(field.current?.value.trim() ?? "");
    busy.value = false;
    if (refused.value === null) location.reload();
    else field.current?.select();
  };
  return (
    <dialog ref={dialog} class="sign-in" aria-labelledby="sign-in-title" onCancel={(e) => e.preventDefault()} onClose={() => dialog.current?.showModal()}>
      <form onSubmit={give}>
        <Logo />
        <h2 id="sign-in-title">This collector asks for a token</h2>
        <p>Whoever runs it can give you one with the scope <code>read</code>.</p>
        <input ref={field} type="password" class="control" name="token" aria-label="Token" placeholder="fk_…" autocomplete="current-password" spellcheck={false} required data-testid="token" />
        <button type="submit" class="control primary" disabled={busy.value}>Open the page</button>
        {refused.value && <p class="refused" role="alert">{refused.value}</p>}
        <p class="quiet">This browser keeps it for 30 days, for this page alone.</p>
      </form>
    </dialog>
  );
}
