import { useEffect, useRef } from "preact/hooks";
import { helpOpen } from "./focus";

/** The keys, over the page. */
export function Help({ keys }: { keys: readonly [keys: string, what: string][] }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = helpOpen.value;
  useEffect(() => {
    if (open && !dialog.current?.open) dialog.current?.showModal();
    if (!open && dialog.current?.open) dialog.current.close();
  }, [open]);
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={() => (helpOpen.value = false)} onClick={(e) => e.target === dialog.current && dialog.current?.close()}>
      <div class="help-body">
        <h2 id="help-title">Keys</h2>
        <dl>
          {keys.map(([key, what]) => (
            <div key={key}><dt>{key.split("  ").map((k) => <kbd key={k}>{k}</kbd>)}</dt><dd>{what}</dd></div>
          ))}
        </dl>
      </div>
    </dialog>
  );
}
