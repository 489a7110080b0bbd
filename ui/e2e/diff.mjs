// The page of diffs in a real browser against a running collector that knows a deploy.
//   BASE_URL=http://127.0.0.1:4040 SERVICE=shop GREW=render SAME=parse GONE=legacy OUT=diff.png node e2e/diff.mjs
// With SERVICE's last deploy the function GREW takes more, GONE is gone, SAME is as it was. NARROW is a service with more functions below one called narrow than an answer holds. TIMEOUT (seconds to wait for data,
// default 30) may be given. CHROMIUM is the browser, /usr/bin/chromium by default. Exits 0 when every step holds, 1 with the step that does not.
import { readFile } from "node:fs/promises";
import { inBrowser, need, step } from "./step.mjs";

const { BASE_URL, SERVICE, GREW, SAME, GONE, NARROW, OUT, TIMEOUT = "30" } = process.env;
const timeout = Number(TIMEOUT) * 1000;

const row = (page, name) => page.locator(`[data-testid=diff-table] .row[data-function="${name}"]`);
const parameter = (page, name) => new URL(page.url()).searchParams.get(name);
const rectOf = (page, name) => page.evaluate((wanted) => window.__flamekeeper?.rectOf(wanted) ?? null, name);

/** Waits until something that the page tells is so. */
async function until(page, what, holds) {
  const end = Date.now() + timeout;
  while (!(await holds())) {
    need(Date.now() < end, `${what}; the page says: ${(await page.locator("main").innerText()).replaceAll("\n", " ").slice(0, 400)}`);
    await page.waitForTimeout(100);
  }
}

/** The colour that a function has in the graph, and those of the legend by their text. */
async function colours(page, name) {
  return page.evaluate((wanted) => {
    const rect = window.__flamekeeper.rectOf(wanted);
    const canvas = document.querySelector(".flame-canvas");
    const box = canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    // The upper left corner of a frame holds no letters.
    const [r, g, b] = canvas.getContext("2d").getImageData((rect.x - box.left + 2) * ratio, (rect.y - box.top + 1) * ratio, 1, 1).data;
    const legend = [...document.querySelectorAll("[data-testid=diff-legend] li")].map((li) => [li.innerText, [...li.querySelectorAll(".swatch")].map((s) => getComputedStyle(s).backgroundColor)]);
    return { fill: `rgb(${r}, ${g}, ${b})`, legend: Object.fromEntries(legend) };
  }, name);
}

async function check(page) {
  const failures = [];
  page.on("pageerror", (error) => failures.push(error.message));
  page.on("console", (message) => message.type() === "error" && failures.push(message.text()));
  await step("the page of services says what changed with the last deploy", async () => {
    await page.goto(`${BASE_URL}/`);
    const change = page.locator(`tr[data-service="${SERVICE}"] [data-column=change] a`);
    await change.waitFor({ timeout });
    await until(page, "the greatest change is not told", async () => (await change.innerText()).includes(GREW));
    await change.click();
  });
  await step("one click compares before and after it, and the page says what it chose", async () => {
    await page.waitForURL((url) => url.pathname === "/diff" && !url.searchParams.has("deploy"), { timeout });
    need(parameter(page, "query_a") === `{service="${SERVICE}", version="1"}` && parameter(page, "query_b")?.includes('version="2"'), page.url());
    await row(page, GREW).waitFor({ timeout });
    const said = await page.getByTestId("said").innerText();
    for (const part of ["Version 1 → 2", "B begins", "changed beyond chance", "would have been told 4 times of 5"]) need(said.includes(part), `“${part}” is missing: ${said}`);
  });
  await step("what grew is ranked first, with its interval; what did not is within chance", async () => {
    const first = page.locator("[data-testid=diff-table] .table-space .row").first();
    need((await first.getAttribute("data-function")) === GREW, `first is ${await first.innerText()}`);
    need(/regressed/.test(await first.innerText()) && /\+\d.* … \+\d/.test(await first.innerText()), await first.innerText());
    need((await row(page, SAME).getAttribute("data-verdict")) === "chance", await row(page, SAME).innerText());
    need((await row(page, GONE).getAttribute("data-verdict")) === "gone", await row(page, GONE).innerText());
  });
  await step("its frame has the colour of more, what did not change is grey", async () => {
    await until(page, `no frame of ${GREW} and ${SAME}`, async () => (await rectOf(page, GREW)) && (await rectOf(page, SAME)));
    const grew = await colours(page, GREW);
    const same = await colours(page, SAME);
    need(grew.legend["more in B"].includes(grew.fill), JSON.stringify(grew));
    need(same.legend["within chance"].includes(same.fill), JSON.stringify(same));
  });
  if (OUT) await page.screenshot({ path: OUT });
  await step("what is gone is seen as wide as in A, and not as in B", async () => {
    await page.locator("[aria-label=Width] [data-choice=b]").click();
    await until(page, `${GONE} is seen in B`, async () => (await rectOf(page, GONE)) === null && (await rectOf(page, GREW)) !== null);
    await page.locator("[aria-label=Width] [data-choice=a]").click();
    await until(page, `${GONE} is not seen in A`, async () => (await rectOf(page, GONE)) !== null);
  });
  await step("a click zooms, the details line tells both sides, Back unzooms", async () => {
    const before = page.url();
    const { x, y, w, h } = await rectOf(page, GREW);
    await page.mouse.click(x + w / 2, y + h / 2);
    await until(page, "the zoom is not in the address", async () => parameter(page, "path")?.includes(GREW));
    await page.mouse.move(2, 2);
    const details = await page.getByTestId("details").innerText();
    need(details.includes(GREW) && details.includes("→") && details.includes("regressed"), details);
    await page.goBack();
    need(page.url() === before, `${page.url()} is not ${before}`);
  });
  await step("a row searches its function, and shares are a switch; the address keeps both", async () => {
    await row(page, GREW).click();
    await page.waitForFunction(() => window.__flamekeeper.matchedShare > 0, null, { timeout });
    await page.locator("[aria-label=Values] [data-choice=share]").click();
    await until(page, "values are no shares", async () => (await row(page, GREW).innerText()).includes("%"));
    await page.reload();
    await row(page, GREW).waitFor({ timeout });
    need(parameter(page, "by") === "share" && parameter(page, "search") === GREW, page.url());
  });
  await step("the report is there as Markdown, of these very windows", async () => {
    await page.getByTestId("report").click();
    const [file] = await Promise.all([page.waitForEvent("download", { timeout }), page.locator("[data-report=markdown]").click()]);
    const text = await readFile(await file.path(), "utf8");
    need(text.includes(`| ${GREW} |`) && text.includes("% of all"), text.slice(0, 400));
    await page.keyboard.press("Escape");
  });
  await step("requests that were posted are offered, and divide: twice as many of them make what grew less", async () => {
    await page.getByTestId("requests").click();
    await until(page, "the counts are not told", async () => /A[^]*[0-9] posted[^]*B[^]*[0-9] posted/.test(await page.getByTestId("posted").innerText()));
    await page.getByRole("button", { name: "Divide by what was posted" }).click();
    await until(page, "nothing is said of the counts", async () => /B: .*requests were posted for/.test(await page.getByTestId("said").innerText()));
    need(parameter(page, "by") === "requests" && parameter(page, "requests_a") === null, page.url());
    need((await row(page, GREW).getAttribute("data-verdict")) === "shrank", await row(page, GREW).innerText());
    await page.reload();
    await row(page, GREW).waitFor({ timeout });
    need((await row(page, GREW).getAttribute("data-verdict")) === "shrank", await row(page, GREW).innerText());
  });
  await step("by requests a value is what one takes; generic functions fold", async () => {
    await page.getByTestId("requests").click();
    await page.getByTestId("requests-a").fill("1000");
    await page.getByTestId("requests-b").fill("100000");
    await page.getByRole("button", { name: "Divide by requests" }).click();
    await until(page, "nothing is said of requests", async () => (await page.getByTestId("said").innerText()).includes("taken as exact"));
    need((await row(page, GREW).getAttribute("data-verdict")) === "shrank", await row(page, GREW).innerText());
    const folded = page.waitForResponse((response) => response.url().includes("generics=fold"), { timeout });
    await page.locator("[data-choice=fold]").click();
    need((await folded).ok(), `the collector refused ${(await folded).url()}`);
    await page.locator("[aria-label=Values] [data-choice=cores]").click();
    await until(page, "requests are still there", async () => parameter(page, "requests_a") === null && parameter(page, "generics") === "fold");
  });
  await step("it leads to Explore and back; there the deploy stands over the time series", async () => {
    await page.getByTestId("side-b").getByRole("link", { name: "Explore" }).click();
    await page.waitForURL((url) => url.pathname === "/explore" && (url.searchParams.get("query") ?? "").includes('version="2"'), { timeout });
    await page.goto(`${BASE_URL}/explore?from=-1h&service=${SERVICE}`);
    await page.getByTestId("compare").click();
    need((await page.locator("[data-compare=deploy]").getAttribute("href")) === `/diff?deploy=${SERVICE}`, "no link to the last deploy");
    await page.keyboard.press("Escape");
    await page.getByTestId("deploys").getByRole("link").first().click({ timeout });
    await page.waitForURL((url) => url.pathname === "/diff" && url.searchParams.has("query_b"), { timeout });
    await row(page, GREW).waitFor({ timeout });
  });
  await step("where no requests were posted, it is said how to", async () => {
    // The browser reports the 404 that this is about.
    const before = failures.length;
    await page.goto(`${BASE_URL}/diff?by=requests&query_a=${encodeURIComponent('{service="many"}')}&query_b=${encodeURIComponent('{service="many"}')}`);
    await page.getByRole("alert").getByText("no requests were posted for A").waitFor({ timeout });
    failures.splice(before);
    await page.getByTestId("requests").click();
    await page.getByTestId("posted").getByText("flamekeeper requests post").waitFor({ timeout });
    await page.keyboard.press("Escape");
  });
  if (NARROW) await step("a zoom into a place that was left out loads it, exactly", async () => {
    const side = (name) => `query_${name}=${encodeURIComponent(`{service="${NARROW}"}`)}&from_${name}=-1h&to_${name}=now`;
    await page.goto(`${BASE_URL}/diff?${side("a")}&${side("b")}&view=flame`);
    await page.locator(".pruned").waitFor({ timeout });
    const before = await page.evaluate(() => window.__flamekeeper.nodes);
    const exact = page.waitForResponse((response) => response.url().includes("&path="), { timeout });
    const { x, y, w, h } = await rectOf(page, "narrow");
    await page.mouse.click(x + w / 2, y + h / 2);
    need((await exact).ok(), `the collector refused ${(await exact).url()}`);
    await until(page, "the exact tree is not drawn", async () => (await page.evaluate(() => window.__flamekeeper.nodes)) !== before && (await page.locator(".pruned").count()) === 0);
    need(parameter(page, "path")?.includes("narrow"), page.url());
  });
  if (NARROW) await step("on paper a diff has its first hundred functions, and when each side was", async () => {
    await page.locator("[aria-label=Layout] [data-choice=split]").click();
    await page.locator("[data-testid=diff-table] .row").first().waitFor({ timeout });
    const rows = () => page.locator("[data-testid=diff-table] .table-space .row").count();
    const screen = await rows();
    await page.emulateMedia({ media: "print" });
    // What depends on it is drawn within the event: the browser does not wait.
    const printed = await page.evaluate(() => (window.dispatchEvent(new Event("beforeprint")), document.querySelectorAll("[data-testid=diff-table] .table-space .row").length));
    need(printed === 100 && screen < 100, `${printed} rows on paper, ${screen} on the screen`);
    need(await page.getByTestId("range-a").isVisible(), "the time of A is not on paper");
    need(!(await page.getByTestId("report").isVisible()), "a menu is on paper");
    await page.evaluate(() => window.dispatchEvent(new Event("afterprint")));
    await page.emulateMedia({ media: null });
    await until(page, "all rows of the paper stay on the screen", async () => (await rows()) < 100);
  });
  await step("a side without samples is told, with a way out", async () => {
    await page.goto(`${BASE_URL}/diff?query_a=${encodeURIComponent('{service="none"}')}&query_b=${encodeURIComponent(`{service="${SERVICE}"}`)}`);
    await page.getByTestId("empty").getByText("A has no samples").waitFor({ timeout });
    await page.getByRole("button", { name: "The window right before B" }).click();
    await until(page, "A did not follow B", async () => parameter(page, "query_a") === `{service="${SERVICE}"}`);
  });
  await step("a service without a deploy is told, with a way out", async () => {
    // The browser reports the 404 that this is about.
    const before = failures.length;
    await page.goto(`${BASE_URL}/diff?deploy=none`);
    await page.getByRole("alert").getByText("No deploy to compare").waitFor({ timeout });
    failures.splice(before);
    await page.getByRole("button", { name: "Compare with an hour before" }).click();
    await until(page, "nothing else is compared", async () => parameter(page, "query_a") === '{service="none"}');
  });
  need(failures.length === 0, `the page reported errors: ${failures.join("; ")}`);
}

await inBrowser({ width: 1600, height: 900 }, timeout, check);
