// Looks for barriers on every page with axe, light and dark, against a running collector.
//   npm pack axe-core && tar xf axe-core-*.tgz; AXE=package/axe.min.js BASE_URL=http://127.0.0.1:4040 node e2e/axe.mjs
// AXE is axe's script, which is no dependency of the page. CHROMIUM is the browser, /usr/bin/chromium by default.
// Exits 0 when axe finds nothing on any page, 1 with what it finds.
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";
import { need, step } from "./step.mjs";

const { AXE, BASE_URL, CHROMIUM = "/usr/bin/chromium" } = process.env;
const PAGES = [
  ["/", ".hosts-table, .notice"], ["/?find=no+service+is+called+so", ".services-none, .notice"], ["/hosts", ".hosts-table, .notice"],
  ["/explore", "[data-testid=details] .amounts, .notice"], ["/explore?pane=tree", ".rows-pane .row, .notice"], ["/explore?pane=callers&fn=main", ".rows-pane, .notice"],
];

async function look(browser, axe, colorScheme, [path, shown]) {
  // The page's policy allows no script but its own: this one is let in for the look.
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme, bypassCSP: true });
  try {
    await page.goto(new URL(path, BASE_URL).href);
    await page.locator(shown).first().waitFor();
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    need(violations.length === 0, violations.map((v) => `${v.impact}: ${v.help} (${v.id}) at ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`).join("; "));
  } finally {
    await page.close();
  }
}

try {
  need(AXE && BASE_URL, "set AXE and BASE_URL");
  const axe = await readFile(AXE, "utf8");
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
  try {
    for (const scheme of ["light", "dark"]) for (const page of PAGES) await step(`${scheme} ${page[0]}`, () => look(browser, axe, scheme, page));
  } finally {
    await browser.close();
  }
} catch (error) {
  console.error(`FAILED ${error.message}`);
  process.exitCode = 1;
}
