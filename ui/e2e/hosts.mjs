// The page of hosts in a real browser against a running collector with one agent.
//   BASE_URL=http://127.0.0.1:4040 HOST=test-host OUT=hosts.png node e2e/hosts.mjs
// TIMEOUT (seconds to wait for data, default 30) may be given. CHROMIUM is the browser, /usr/bin/chromium by default.
// Exits 0 when every step holds, 1 with the step that does not.
import { inBrowser, need, step } from "./step.mjs";

const { BASE_URL, HOST, OUT, TIMEOUT = "30" } = process.env;
const timeout = Number(TIMEOUT) * 1000;

const cell = (page, column) => page.locator(`tr[data-host="${HOST}"] [data-column="${column}"]`);

async function check(page) {
  const failures = [];
  page.on("pageerror", (error) => failures.push(error.message));
  page.on("console", (message) => message.type() === "error" && failures.push(message.text()));
  await step("the main page links to the hosts", async () => {
    await page.goto(`${BASE_URL}/`);
    await page.getByRole("navigation").getByRole("link", { name: "Hosts" }).click();
    await page.waitForURL("**/hosts");
  });
  await step("the agent stands in the table, with what it uses and may use", async () => {
    await page.locator(`tr[data-host="${HOST}"]`).waitFor({ timeout });
    need(/ % \/ .* %$/.test((await cell(page, "cpu").innerText()).replaceAll("\u00a0", " ").trim()), `CPU: ${await cell(page, "cpu").innerText()}`);
    need(/iB \/ .*MiB$/.test((await cell(page, "memory").innerText()).trim()), `memory: ${await cell(page, "memory").innerText()}`);
    need(/Hz$/.test((await cell(page, "frequency").innerText()).trim()), `frequency: ${await cell(page, "frequency").innerText()}`);
    need(Number(await cell(page, "rate").innerText()) > 0, `samples: ${await cell(page, "rate").innerText()}`);
  });
  await step("the collector says what it keeps, and on how much disk", async () => {
    const facts = page.getByTestId("collector");
    await facts.waitFor({ timeout });
    need(/Profiles on disk\s*[\d.,\u202f]+\s[KMGT]?i?B/.test(await facts.innerText()), await facts.innerText());
    need((await facts.innerText()).includes("minutes:"), await facts.innerText());
  });
  await step("a column's head sorts, by keyboard too, and the address keeps it", async () => {
    const head = page.getByRole("columnheader", { name: "CPU" });
    await head.getByRole("button").focus();
    await page.keyboard.press("Enter");
    need(page.url().endsWith("/hosts?sort=-cpu"), page.url());
    need((await head.getAttribute("aria-sort")) === "descending", "aria-sort");
    await page.goBack();
    need(page.url().endsWith("/hosts"), page.url());
    await page.getByTestId("window").selectOption("3600");
    await page.reload();
    need((await page.getByTestId("window").inputValue()) === "3600", "the window is not kept");
    await page.locator(`tr[data-host="${HOST}"]`).waitFor({ timeout });
  });
  await step("light and dark differ", async () => {
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const theme = page.getByTestId("theme");
    await theme.click();
    const light = await ground();
    await theme.click();
    need((await ground()) !== light, "the same ground");
  });
  if (OUT) await page.screenshot({ path: OUT });
  await step("a host's name leads to what it did, and back", async () => {
    await page.locator(`tr[data-host="${HOST}"] a`).click();
    await page.waitForURL((url) => url.pathname === "/explore" && url.searchParams.get("query") === `{host="${HOST}"}`);
    await page.goBack();
    await page.locator(`tr[data-host="${HOST}"]`).waitFor({ timeout });
  });
  await step("without an agent the page says how to start one", async () => {
    await page.route("**/api/v1/hosts*", (route) => route.fulfill({ json: { hosts: [] } }));
    await page.reload();
    const empty = page.getByTestId("empty");
    await empty.waitFor({ timeout });
    need((await empty.innerText()).includes(`flamekeeper agent --collector ${BASE_URL}`), await empty.innerText());
  });
  need(failures.length === 0, `the page reported: ${failures.join("; ")}`);
}

await inBrowser({ width: 1440, height: 700 }, timeout, check);
