import { useState } from "preact/hooks";
import { Icon } from "./icons";

/** Copies a link whose times are pinned: `pinned` is its query string, `pin` puts it into the address bar. */
export function CopyLink({ pinned, pin }: { pinned: () => string; pin: () => void }) {
  const [done, setDone] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(location.origin + location.pathname + pinned());
      setDone("Copied");
    } catch {
      // Without https the clipboard is closed: the pinned address goes where it can be copied by hand.
      pin();
      setDone("In the address bar");
    }
    setTimeout(() => setDone(""), 2000);
  };
  return <button type="button" class="control" title="Copy a link with these exact times" onClick={() => void copy()}><Icon name="link" />{done || "Copy link"}</button>;
}
