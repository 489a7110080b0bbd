// The page of leaks in a real browser, against a collector that has the counts of a heap with one leak and one cache, and a killed process.
//   BASE_URL=http://127.0.0.1:4040 LEAK=grow CACHE=cache SERVICE=api OUT=leaks.png node e2e/leaks.mjs
// TIMEOUT (seconds to wait for data, default 30) may be given. CHROMIUM is the browser, /usr/bin/chromium by default.
// Exits 0 when every step holds, 1 with the step that does not.
import { inBrowser, need, step } from "./step.mjs";

const { BASE_URL, LEAK, CACHE, SERVICE, OUT, TIMEOUT = "30" } = process.env;
const timeout = Number(TIMEOUT) * 1000;

async function check(page) {
  const failures = [];
  page.on("pageerror", (error) => failures.push(error.message));
  page.on("console", (message) => message.type() === "error" && failures.push(message.text()));
  const details = page.getByTestId("details");
  await step("the main page links to the leaks", async () => {
    await page.goto(`${BASE_URL}/`);
    await page.getByRole("navigation").getByRole("link", { name: "Leaks" }).click();
    await page.waitForURL("**/leaks");
  });
  await step("the leak comes first, with its evidence and its stack", async () => {
    const first = page.locator("[data-testid=leaks] tbody tr").first();
    await first.waitFor({ timeout });
    const text = await first.innerText();
    need(text.includes(LEAK) && text.includes("Leaks") && text.includes(SERVICE), text);
    const said = await details.innerText();
    need(said.includes(LEAK) && said.includes("none was freed after it") && said.includes("main") && said.includes("flamekeeper heap scan 7"), said);
  });
  if (OUT) await page.screenshot({ path: OUT });
  await step("what is not seen is said with what to do, and what is sampled comes first", async () => {
    const rows = page.getByTestId("not-seen").locator("tbody tr");
    const texts = await rows.allInnerTexts();
    need(texts.length === 2, texts.join());
    need(texts[0].includes(SERVICE) && texts[0].includes("sampled") && texts[0].includes("PYTHONMALLOC=malloc"), texts[0]);
    need(texts[1].includes("gate") && texts[1].includes("Go has an allocator of its own") && texts[1].includes("[[scrape]]"), texts[1]);
  });
  await step("another suspect shows its own details, and Back those before", async () => {
    await page.getByRole("button", { name: CACHE }).click();
    need((await details.innerText()).includes("levels off near"), await details.innerText());
    need(new URL(page.url()).searchParams.get("open"), page.url());
    await page.goBack();
    await details.getByText("none was freed after it").waitFor({ timeout });
  });
  await step("a killed process leads to its last heap", async () => {
    await page.getByTestId("killed").getByRole("link").first().click();
    await page.waitForURL((url) => url.pathname === "/explore" && url.searchParams.get("type") === "inuse_space");
    await page.getByText(LEAK).first().waitFor({ timeout });
    await page.goBack();
    await details.waitFor({ timeout });
  });
  await step("the leak leads to its live heap, with the function searched for", async () => {
    await details.getByRole("link").click();
    await page.waitForURL((url) => url.pathname === "/explore" && url.searchParams.get("search") === LEAK && url.searchParams.get("query").includes(SERVICE));
    await page.goBack();
    await details.waitFor({ timeout });
  });
  await step("where no heap is sampled the page says how to begin", async () => {
    await page.route("**/api/v1/leaks*", (route) => route.fulfill({ json: { horizon: 3600, groups: [], groups_left_out: 0, leaks: 0, suspects_total: 0, suspects: [], killed: [], blind: [], blind_left_out: 0 } }));
    await page.reload();
    const empty = page.getByTestId("empty");
    await empty.waitFor({ timeout });
    need((await empty.innerText()).includes("flamekeeper heap enable UNIT"), await empty.innerText());
  });
  need(failures.length === 0, `the page reported: ${failures.join("; ")}`);
}

await inBrowser({ width: 1440, height: 700 }, timeout, check);
