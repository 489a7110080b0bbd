// Signing in and out in a real browser, against a collector that asks for a token.
//   BASE_URL=http://127.0.0.1:4040 TOKEN=fk_... OUT=session.png node e2e/session.mjs
// TIMEOUT (seconds to wait for data, default 30) may be given. CHROMIUM is the browser, /usr/bin/chromium by default.
// Exits 0 when every step holds, 1 with the step that does not.
import { inBrowser, need, step } from "./step.mjs";

const { BASE_URL, TOKEN, OUT, TIMEOUT = "30" } = process.env;
const timeout = Number(TIMEOUT) * 1000;

async function check(page) {
  const failures = [];
  page.on("pageerror", (error) => failures.push(error.message));
  const field = page.getByTestId("token");
  const form = page.locator("dialog.sign-in");
  const out = page.getByTestId("sign-out");
  await step("the page asks for a token, and shows nothing else", async () => {
    await page.goto(`${BASE_URL}/`);
    await field.waitFor({ timeout });
    await page.keyboard.press("Escape");
    need(await form.isVisible(), "the form went away");
    if (OUT) await page.screenshot({ path: OUT });
  });
  await step("a wrong token is refused with the reason", async () => {
    await field.fill("fk_wrong");
    await field.press("Enter");
    const alert = form.getByRole("alert");
    await alert.waitFor({ timeout });
    need((await alert.innerText()).includes("not known here"), await alert.innerText());
    need((await out.count()) === 0, "signed in by a wrong token");
  });
  await step("the right one opens the page, which keeps no token that a script could read", async () => {
    await field.fill(TOKEN);
    await form.getByRole("button").click();
    await out.waitFor({ timeout });
    need(!(await form.isVisible()), "the form is still there");
    const kept = await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage }) + document.body.innerHTML);
    need(!kept.includes(TOKEN), "a script can read the token");
    await page.reload();
    await out.waitFor({ timeout });
  });
  await step("the button takes it back", async () => {
    await out.click();
    await field.waitFor({ timeout });
    need((await page.context().cookies()).length === 0, "the cookie is still there");
    need((await out.count()) === 0, "the button is still there");
  });
  need(failures.length === 0, `the page reported: ${failures.join("; ")}`);
}

await inBrowser({ width: 1200, height: 700 }, timeout, check);
