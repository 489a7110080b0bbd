import { render } from "preact";
import { isOfExplore } from "./data/services";
import { DiffPage } from "./diff/DiffPage";
import { startDiff } from "./diff/store";
import { Explore } from "./explore/Explore";
import { start } from "./explore/store";
import { Hosts } from "./hosts/Hosts";
import { startHosts } from "./hosts/store";
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

const root = document.getElementById("app");
if (root) {
  if (location.pathname === "/hosts") {
    startHosts();
    render(<Hosts />, root);
  } else if (location.pathname === "/leaks") {
    // Apart: it is fetched by who looks at it only.
    void import("./leaks/page").then(({ show }) => show(root));
  } else if (location.pathname === "/") {
    startServices();
    render(<Services />, root);
  } else if (location.pathname === "/diff") {
    startDiff();
    render(<DiffPage />, root);
  } else {
    start();
    render(<Explore />, root);
  }
}

// Beside the page, over which it opens where the collector asks for a token.
render(<SignIn />, document.body.appendChild(document.createElement("div")));
