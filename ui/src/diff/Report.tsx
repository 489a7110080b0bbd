import { Icon } from "../explore/icons";
import { Menu } from "../explore/Menu";
import { lacking, diff, reportUrl, stale } from "./store";

const FILES = [
  ["markdown", "Markdown", "for a pull request", "md"],
  ["text", "Text", "as the command line prints it", "txt"],
  ["report", "JSON", "for programs", "json"],
] as const;

/** What changed, to take away: as a file of these very windows, or on paper. */
export function Report() {
  const none = !diff.value || lacking.value || stale.value;
  return (
    <Menu title="The report of what changed" testId="report" class="right" label={<><Icon name="download" />Report</>}>
      {(close) => none ? <p class="panel-note">There is nothing to report yet.</p> : (
        <div class="options exports">
          {FILES.map(([format, label, hint, end]) => <a key={format} class="option" href={reportUrl(format)} download={`flamekeeper-diff.${end}`} data-report={format}><span class="option-name">{label}</span><span class="quiet">{hint}</span></a>)}
          <button type="button" class="option" data-report="print" onClick={() => { close(); setTimeout(() => print(), 50); }}><span class="option-name">Print</span><span class="quiet">this page</span></button>
        </div>
      )}
    </Menu>
  );
}
