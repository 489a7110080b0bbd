// The page in a real browser against a running collector.
//   BASE_URL=http://127.0.0.1:4040 FUNCTION=burn_hot SERVICE=workload OUT=page.png node e2e/explore.mjs
// FUNCTION is a function expected in the graph of SERVICE (all services when empty); FROM (default -15m) and
// TIMEOUT (seconds to wait for data, default 30) may be given. CHROMIUM is the browser, /usr/bin/chromium by default.
// SPEEDSCOPE is the folder of the npm package of this name: where it is given, speedscope reads what is exported for it.
// Exits 0 when every step holds, 1 with the step that does not.
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";
import { WEBGL, functionsIn, serve } from "./speedscope.mjs";
import { need, step } from "./step.mjs";

const { SPEEDSCOPE, BASE_URL, FUNCTION, SERVICE = "", OUT, FROM = "-15m", TIMEOUT = "30", CHROMIUM = "/usr/bin/chromium" } = process.env;
const timeout = Number(TIMEOUT) * 1000;

/** Waits until the rectangle of the function stands still: a zoom moves it. */
async function settledRect(page) {
  let last = "";
  const until = Date.now() + timeout;
  for (;;) {
    const rect = await page.evaluate((name) => window.__flamekeeper?.rectOf(name) ?? null, FUNCTION);
    if (rect && JSON.stringify(rect) === last) return rect;
    if (Date.now() > until) throw new Error(`no rectangle of ${FUNCTION}${SERVICE ? ` in service ${SERVICE}` : ""}; the page says: ${await said(page)}`);
    last = JSON.stringify(rect);
    await page.waitForTimeout(150);
    if (!rect && (await mayHaveComeTooEarly(page))) await page.reload();
  }
}

/** Waits until it is as wide as it should be: on a busy machine a zoom may not have begun when it seems to stand. */
async function rectUntil(page, fits, what) {
  const end = Date.now() + timeout;
  for (;;) {
    const { w } = await settledRect(page);
    if (fits(w)) return;
    need(Date.now() < end, `it is ${Math.round(w)} px wide, ${what}`);
  }
}

// The agent's first window, or its symbols, may not have been stored yet when the page asked.
async function mayHaveComeTooEarly(page) {
  await page.waitForTimeout(1000);
  const [empty, counts] = [page.locator("[data-testid=empty]"), page.locator("[data-testid=completeness]")];
  return (await empty.count()) > 0 || ((await counts.count()) > 0 && (await counts.innerText()).includes("unnamed"));
}

async function said(page) {
  const notice = page.locator(".notice").first();
  if (await notice.count()) return (await notice.innerText()).replaceAll("\n", " ");
  const nodes = await page.evaluate(() => window.__flamekeeper?.nodes ?? 0);
  return `a graph of ${nodes} nodes, ${await page.locator("[data-testid=completeness]").innerText()}`;
}

async function readBySpeedscope(file) {
  const scope = await serve(SPEEDSCOPE);
  // A browser of its own: what draws WebGL without a graphics card makes all else slow.
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", ...WEBGL] });
  try {
    const other = await browser.newPage();
    other.setDefaultTimeout(timeout);
    const rows = await functionsIn(other, scope.address, file);
    need(rows.some((row) => row.includes(FUNCTION)), `it lists ${rows.length} functions, and not ${FUNCTION}: ${rows.slice(0, 5).join("; ")}`);
  } finally {
    await browser.close();
    scope.close();
  }
}

const middle = (rect) => [rect.x + rect.w / 2, rect.y + rect.h / 2];
const details = (page) => page.locator("[data-testid=details]").innerText();

async function check(page) {
  const failures = [];
  page.on("pageerror", (error) => failures.push(error.message));
  page.on("console", (message) => message.type() === "error" && failures.push(message.text()));
  const address = new URL("/explore", BASE_URL);
  address.searchParams.set("from", FROM);
  if (SERVICE) address.searchParams.set("service", SERVICE);

  if (SERVICE) {
    await step("the page of services lists it, with what it takes, and leads to its flamegraph", async () => {
      await page.goto(new URL("/", BASE_URL).href);
      const row = page.locator(`tr[data-service="${SERVICE}"]`);
      await row.waitFor({ timeout });
      // "<0.001" at first: the window is long, and the service has just begun.
      const cores = row.locator("[data-column=cores]");
      const until = Date.now() + timeout;
      while (!(Number(await cores.innerText()) > 0)) {
        need(Date.now() < until, `cores: ${await cores.innerText()}`);
        await page.waitForTimeout(250);
      }
      // Memory has a trend of its own in the same row, once a look at it came.
      await row.locator(".services-trend path").waitFor({ state: "attached", timeout });
      await page.getByTestId("find").fill("no service is called so");
      await row.waitFor({ state: "detached", timeout });
      await page.getByTestId("find").fill(SERVICE);
      await row.getByRole("link").click();
      await page.waitForURL((url) => url.pathname === "/explore" && url.searchParams.get("query") === `{service="${SERVICE}"}`, { timeout });
    });
    await step("an address from when Explore stood at / still leads there", async () => {
      await page.goto(new URL(`/?service=${SERVICE}`, BASE_URL).href);
      await page.waitForURL((url) => url.pathname === "/explore" && url.searchParams.get("service") === SERVICE, { timeout });
    });
  }
  await step("the page opens", async () => {
    const response = await page.goto(address.href);
    need(response.ok(), `status ${response.status()} from ${address.href}`);
    await page.locator("[data-testid=service-picker]").waitFor({ timeout });
    await page.locator("[data-testid=flame-canvas]").waitFor({ timeout });
    await page.locator("[data-testid=timeseries] canvas").waitFor({ timeout });
  });
  await step(`the graph shows ${FUNCTION}`, async () => {
    const rect = await settledRect(page);
    const under = await page.evaluate(([x, y]) => window.__flamekeeper.hoverAt(x, y), middle(rect));
    need(under?.name.includes(FUNCTION), `${JSON.stringify(under)} stands where ${FUNCTION} should`);
    await page.mouse.move(...middle(rect));
    await page.waitForFunction((name) => document.querySelector("[data-testid=details]")?.textContent.includes(name), FUNCTION, { timeout });
  });
  const before = page.url();
  const wideBefore = (await settledRect(page)).w;
  await step("a click zooms on it", async () => {
    await page.mouse.click(...middle(await settledRect(page)));
    await page.waitForFunction((url) => location.href !== url, before, { timeout });
    need(new URL(page.url()).searchParams.get("path")?.includes(FUNCTION), `the address holds no path to it: ${page.url()}`);
    await page.mouse.move(2, 2);
    need((await details(page)).includes(FUNCTION), `the details line says: ${await details(page)}`);
    const canvas = await page.locator("[data-testid=flame-canvas]").boundingBox();
    await rectUntil(page, (w) => w > canvas.width * 0.98, `of ${Math.round(canvas.width)} px`);
  });
  await step("Back unzooms", async () => {
    await page.goBack();
    need(page.url() === before, `the address is ${page.url()}, not ${before}`);
    await rectUntil(page, (w) => Math.abs(w - wideBefore) < 2, `and was ${wideBefore} px before the zoom`);
  });
  await step("search tells the share matched", async () => {
    await page.keyboard.press("/");
    await page.keyboard.type(FUNCTION);
    await page.waitForFunction(() => window.__flamekeeper.matchedShare > 0, null, { timeout });
    const text = await page.locator("[data-testid=search-result]").innerText();
    need(/[1-9].*%/.test(text), `the box says “${text}”`);
  });
  await step("the table lists it", async () => {
    await page.locator("[data-testid=table-filter]").fill(FUNCTION);
    await page.locator("[data-testid=table] .row", { hasText: FUNCTION }).first().waitFor({ timeout });
    await page.locator("[data-testid=table-filter]").fill("");
  });
  await step("completeness is told", async () => {
    const text = await page.locator("[data-testid=completeness]").innerText();
    for (const word of ["samples", "lost", "truncated", "unnamed"]) need(text.includes(word), `“${word}” is missing: ${text}`);
  });
  await step("the call tree lists it", async () => {
    await page.locator("[data-choice=tree]").click();
    await page.locator("[data-testid=call-tree-rows] .row").first().waitFor({ timeout });
    need(new URL(page.url()).searchParams.get("pane") === "tree", `the address does not say so: ${page.url()}`);
  });
  await step("callers and callees are told", async () => {
    await page.locator("[data-choice=callers]").click();
    await page.locator("[data-testid=table-filter]").fill(FUNCTION);
    await page.locator("[data-testid=table] .row", { hasText: FUNCTION }).first().click();
    await page.locator("[data-testid=callees-rows] .row", { hasText: FUNCTION }).first().waitFor({ timeout });
    await page.locator("[data-testid=table-filter]").fill("");
    await page.locator("[aria-label=Graph] [data-choice=flame]").click();
  });
  await step("generic functions are folded, and parted again", async () => {
    for (const folded of [true, false]) {
      const answered = page.waitForResponse((response) => response.url().includes("/api/v1/flamegraph") && response.url().includes("generics=fold") === folded, { timeout });
      await page.locator("[data-choice=fold]").click();
      need((await answered).ok(), `the collector refused ${(await answered).url()}`);
      need((new URL(page.url()).searchParams.get("generics") === "fold") === folded, `the address does not say so: ${page.url()}`);
      await settledRect(page);
    }
  });
  await step("a menu hides it, and undo brings it back", async () => {
    await page.mouse.click(...middle(await settledRect(page)), { button: "right" });
    await page.locator("[data-action=hide]").click();
    const chip = page.locator("[data-testid=chip][data-kind=hide]", { hasText: "−" });
    await chip.waitFor({ timeout });
    await page.locator("[aria-label=Undo]").click();
    await chip.waitFor({ state: "detached", timeout });
    await settledRect(page);
  });
  await step("speedscope is exported", async () => {
    await page.locator("[data-testid=export]").click();
    const [file] = await Promise.all([page.waitForEvent("download", { timeout }), page.locator("[data-export=speedscope]").click()]);
    const { shared } = JSON.parse(await readFile(await file.path(), "utf8"));
    need(shared.frames.some(({ name }) => name.includes(FUNCTION)), `${shared.frames.length} functions, and not it`);
    await page.keyboard.press("Escape");
    if (SPEEDSCOPE) await step("speedscope itself reads it", async () => readBySpeedscope(await file.path()));
  });
  await step("samples are told within each second, and a narrow selection grows to whole windows", async () => {
    await page.locator("[aria-label='Over time'] [data-choice=subsecond]").click();
    await page.waitForFunction(() => /[1-9].* samples in/.test(document.querySelector("[data-testid=heatmap]")?.getAttribute("aria-label") ?? ""), null, { timeout });
    need(new URL(page.url()).searchParams.get("chart") === "subsecond", `the address does not say so: ${page.url()}`);
    const box = await page.locator("[data-testid=heatmap]").boundingBox();
    const before = page.url();
    await page.mouse.move(box.x + box.width - 60, box.y + 50);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width - 52, box.y + 50, { steps: 3 });
    await page.mouse.up();
    await page.waitForFunction((before) => location.href !== before, before, { timeout });
    const { searchParams } = new URL(page.url());
    const [from, to] = ["from", "to"].map((name) => Date.parse(searchParams.get(name)) / 1000);
    need(from % 10 === 0 && to % 10 === 0 && to > from, `the window is ${from} to ${to}`);
    await page.goBack();
    await page.locator("[aria-label='Over time'] [data-choice=rate]").click();
  });
  need(failures.length === 0, `the page reported errors: ${failures.join("; ")}`);
}

async function main() {
  need(BASE_URL && FUNCTION, "set BASE_URL and FUNCTION");
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  try {
    const page = await browser.newPage({ viewport: { width: 1920, height: 1080 } });
    try {
      await check(page);
    } finally {
      if (OUT) await page.screenshot({ path: OUT });
    }
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(`FAILED ${error.message}`);
  process.exitCode = 1;
});
