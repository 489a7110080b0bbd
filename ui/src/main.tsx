import { render } from "preact";
import { isOfExplore } from "./data/services";
import { Explore } from "./explore/Explore";
import { start } from "./explore/store";
import { askSession } from "./data/session";
import { SignIn } from "./session/SignIn";
import { Services } from "./services/Services";
import { startServices } from "./services/store";
import "./styles/base.css";
import "./styles/explore.css";
import "./styles/diff.css";
import "./styles/hosts.css";
import "./styles/leaks.css";
import "./styles/rows.css";
import "./styles/services.css";
import "./styles/session.css";

// Links to Explore from before the services stood at `/` still lead to what they showed.
if (location.pathname === "/" && isOfExplore(location.search)) history.replaceState(history.state, "", `/explore${location.search}`);

// Fetched by who looks at them only, so that the first script stays small.
const APART: Readonly<Record<string, () => Promise<{ show(root: Element): void }>>> = {
  "/diff": () => import("./diff/page"),
  "/hosts": () => import("./hosts/page"),
  "/leaks": () => import("./leaks/page"),
};

const root = document.getElementById("app");
if (root) {
  const apart = APART[location.pathname];
  if (apart) {
    void apart().then(({ show }) => show(root), () => tellReload(root));
  } else if (location.pathname === "/") {
    startServices();
    render(<Services />, root);
  } else {
    start();
    render(<Explore />, root);
  }
}

// A collector that was replaced by another version does not have the parts of the page that was loaded before.
function tellReload(root: Element): void {
  render(<div class="notice error" role="alert"><h2>A part of the page did not load</h2><p>The collector is not reachable, or was replaced by another version.</p><div class="actions"><button type="button" class="control primary" onClick={() => location.reload()}>Reload the page</button></div></div>, root);
}

// Beside the page, over which it opens where the collector asks for a token.
render(<SignIn />, document.body.appendChild(document.createElement("div")));
void askSession();
