import { render } from "preact";
import { Explore } from "./explore/Explore";
import { start } from "./explore/store";
import "./styles/base.css";
import "./styles/explore.css";

start();
const root = document.getElementById("app");
if (root) render(<Explore />, root);
