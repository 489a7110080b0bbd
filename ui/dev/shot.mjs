// Screenshots of a running page: node dev/shot.mjs URL OUT [--size 1920x1080] [--dark] [--do "JS module body with page"]
import { chromium } from "playwright-core";

const [url, out] = process.argv.slice(2);
const option = (name, fallback) => {
  const i = process.argv.indexOf(`--${name}`);
  return i < 0 ? fallback : process.argv[i + 1];
};
const [width, height] = option("size", "1920x1080").split("x").map(Number);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
const page = await browser.newPage({ viewport: { width, height }, colorScheme: process.argv.includes("--dark") ? "dark" : "light" });
page.on("console", (m) => m.type() !== "debug" && console.log("console:", m.text()));
page.on("pageerror", (e) => console.log("page error:", e.message));
await page.goto(url);
await page.waitForTimeout(900);
const script = option("do", "");
if (script) {
  const result = await new (Object.getPrototypeOf(async () => {}).constructor)("page", script)(page);
  if (result !== undefined) console.log(JSON.stringify(result));
  await page.waitForTimeout(500);
}
await page.screenshot({ path: out });
await browser.close();
