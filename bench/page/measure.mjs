// What the page costs beside speedscope (npm `speedscope`), on the same synthetic profiles in the same run: a table in Markdown.
//   ./dev bench page [NODES...]      (100000 and 1000000 by default)
// CPU is that of the page's own thread. Each profile is opened twice by each, and the second time counts. Ours gets the answer that the
// collector would send without leaving anything out; speedscope the same tree in its own format (evented).
import { createRequire } from "node:module";
import { explore, frames, meter, synthetic, zoomSteps } from "../../ui/e2e/costs.mjs";
import { WEBGL, serve } from "../../ui/e2e/speedscope.mjs";
import { flamegraph } from "../../ui/dev/synthetic.mjs";

const { chromium } = createRequire(new URL("../../ui/package.json", import.meta.url))("playwright-core");
const { CHROMIUM = "/usr/bin/chromium", SPEEDSCOPE } = process.env;
const STEPS = 24;

/** A tree as speedscope's evented profile: each node opens and closes, self values last. */
function evented({ nodes, frames: table, strings }, name) {
  const { depth, frame, self, cut } = nodes;
  const events = [];
  const open = [];
  let at = 0;
  const close = (to) => {
    while (open.length > to) {
      const node = open.pop();
      at += self[node] + cut[node];
      events.push({ type: "C", frame: frame[node], at });
    }
  };
  for (let i = 1; i < depth.length; i++) {
    close(depth[i] - 1);
    events.push({ type: "O", frame: frame[i], at });
    open.push(i);
  }
  close(0);
  const profile = { type: "evented", name, unit: "nanoseconds", startValue: 0, endValue: at, events };
  return { $schema: "https://www.speedscope.app/file-format-schema.json", shared: { frames: table.name.map((n) => ({ name: strings[n] || "(all)" })) }, profiles: [profile] };
}

async function theirs(page, folder, nodes) {
  const now = Date.now() / 1000;
  const text = Buffer.from(JSON.stringify(evented(flamegraph({ count: nodes, from: now - 900, to: now }), "synthetic")));
  const server = await serve(folder, { "/profile.json": text });
  try {
    const costs = await meter(page);
    const open = async () => {
      await page.goto("about:blank");
      await page.goto(`${server.address}#profileURL=${encodeURIComponent(`${server.address}profile.json`)}`);
      await page.waitForFunction(() => document.title.startsWith("synthetic"));
      await frames(page);
    };
    await open();
    const load = await costs.cost(open);
    const zoom = await costs.cost(() => zoomSteps(page, page.locator("canvas").first(), STEPS, async () => undefined));
    return { load, zoom: zoom.cpu / STEPS, frame: zoom.wall / STEPS, memory: await costs.memory() };
  } finally {
    server.close();
  }
}

const round = (value, digits = 0) => value.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: digits });

// Each in a browser of its own: what draws speedscope's WebGL without a graphics card would slow ours.
const launch = (args) => chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", ...args] });
const [browser, theirBrowser] = [await launch(["--disable-gpu"]), await launch(WEBGL)];
try {
  const rows = [];
  for (const nodes of (process.argv.length > 2 ? process.argv.slice(2) : ["100000", "1000000"]).map(Number)) {
    const context = await browser.newContext({ viewport: { width: 1920, height: 1080 } });
    const page = await context.newPage();
    page.setDefaultTimeout(300_000);
    const server = await synthetic(nodes);
    const ours = await explore(page, server.address).finally(() => server.stop());
    await context.close();
    const other = await theirBrowser.newContext({ viewport: { width: 1920, height: 1080 } });
    const theirPage = await other.newPage();
    theirPage.setDefaultTimeout(600_000);
    const speedscope = await theirs(theirPage, SPEEDSCOPE, nodes);
    await other.close();
    const row = (what, mine, its, unit, digits = 0) => rows.push(`| ${round(ours.nodes)} | ${what} | ${round(mine, digits)} ${unit} | ${its === null ? "" : `${round(its, digits)} ${unit}`} | ${its === null ? "" : round(its / mine, 1)} |`);
    row("open, CPU", ours.load.cpu, speedscope.load.cpu, "ms");
    row("open, wall", ours.load.wall, speedscope.load.wall, "ms");
    row("end of the answer to painted, wall", ours.painted, null, "ms");
    row("a step of the zoom, CPU", ours.zoom, speedscope.zoom, "ms", 1);
    row("live objects", ours.memory, speedscope.memory, "MiB");
    row("a draw, 95th percentile", ours.slowDraw, null, "ms", 1);
    row("a search, median", ours.search, null, "ms", 1);
    for (const [kind, took] of Object.entries(ours.transforms)) row(`transform: ${kind}`, took, null, "ms");
  }
  console.log(["| nodes | | flamekeeper | speedscope | ratio |", "|---|---|---|---|---|", ...rows].join("\n"));
} finally {
  await Promise.all([browser.close(), theirBrowser.close()]);
}
