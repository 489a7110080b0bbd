// Looks for barriers on every page with axe, light and dark, against a running collector.
//   BASE_URL=http://127.0.0.1:4040 SERVICE=api node e2e/axe.mjs
// SERVICE (all when empty) is what Explore and the diff show; ONLY is one page's path, where not all are looked at. CHROMIUM is the browser, /usr/bin/chromium by default.
// Exits 0 when axe finds nothing on any page, 1 with what it finds.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { need, step } from "./step.mjs";

const { BASE_URL, SERVICE = "", ONLY = "", TIMEOUT = "30", CHROMIUM = "/usr/bin/chromium" } = process.env;
const PAGES = [
  ["/", ".hosts-table, .notice"], ["/?find=no+service+is+called+so", ".services-none, .notice"], ["/hosts", ".hosts-table, .notice"],
  [`/explore?service=${SERVICE}`, "[data-testid=details] .amounts, .notice"], ["/explore?pane=tree", ".rows-pane .row, .notice"], ["/explore?pane=callers&fn=main", ".rows-pane, .notice"],
  [`/diff${SERVICE && `?deploy=${SERVICE}`}`, ".diff-table .row, .notice h2"], ["/diff?view=table&from_a=-15m&to_a=now", ".diff-table .row, .notice h2"],
  ["/leaks", ".hosts-table, .notice"],
];

async function look(browser, axe, colorScheme, [path, shown]) {
  // The page's policy allows no script but its own: this one is let in for the look.
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme, bypassCSP: true });
  page.setDefaultTimeout(Number(TIMEOUT) * 1000);
  try {
    await page.goto(new URL(path, BASE_URL).href);
    await page.locator(shown).first().waitFor();
    await page.evaluate(axe);
    // In the dark all is the same but the colours.
    const { violations } = await page.evaluate((only) => globalThis.axe.run(only), colorScheme === "dark" ? { runOnly: ["color-contrast"] } : {});
    need(violations.length === 0, violations.map((v) => `${v.impact}: ${v.help} (${v.id}) at ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`).join("; "));
  } finally {
    await page.close();
  }
}

try {
  need(BASE_URL, "set BASE_URL");
  const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
  try {
    for (const scheme of ["light", "dark"]) for (const page of PAGES.filter(([path]) => ONLY === "" || path === ONLY)) await step(`${scheme} ${page[0]}`, () => look(browser, axe, scheme, page));
  } finally {
    await browser.close();
  }
} catch (error) {
  console.error(`FAILED ${error.message}`);
  process.exitCode = 1;
}
