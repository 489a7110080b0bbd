import { diffUrl, earlier, lengthOf } from "../data/diffState";
import { selectedValue } from "../data/selector";
import { formatSpan } from "../data/time";
import { Menu } from "./Menu";
import { state } from "./store";

/** Links to the page of diffs, with what is selected here as B. */
export function Compare() {
  return <Menu title="Compare what is selected with something else" testId="compare" class="right" label="Compare">{() => <Choices />}</Menu>;
}

function Choices() {
  const { query, from, to, type, path, search } = state.value;
  const now = Date.now() / 1000;
  const b = { query, from, to };
  const length = lengthOf(b, now);
  const service = selectedValue(query, "service");
  const spans: [seconds: number, text: string][] = [[length ?? 0, "with the window before"], ...[3600, 86400, 604800].map((s): [number, string] => [s, `with ${formatSpan(s)} before`])];
  return (
    <div class="options">
      {service && <a class="option" href={diffUrl({ deploy: service, type })} data-compare="deploy"><span>before and after the last deploy of {service}</span></a>}
      {spans.map(([seconds, text]) => {
        const a = seconds > 0 ? earlier(b, seconds, now) : null;
        return a && <a class="option" key={text} href={diffUrl({ a, b, type, path, search })} data-compare={seconds}><span>{text}</span></a>;
      })}
      <p class="quiet">Two versions, hosts, or any two selectors: choose them there.</p>
    </div>
  );
}
