// What the runs in a real browser are made of: steps with a name, and what must hold in them.
import { chromium } from "playwright-core";

const { CHROMIUM = "/usr/bin/chromium" } = process.env;

/** Ends the step with what does not hold. */
export function need(holds, what) {
  if (!holds) throw new Error(what);
}

/** Runs a step and prints how long it took; its failure carries its name. */
export async function step(name, run) {
  const began = performance.now();
  try {
    await run();
  } catch (error) {
    throw new Error(`${name}: ${error.message}`);
  }
  console.log(`ok   ${name} (${Math.round(performance.now() - began)} ms)`);
}

/** Runs `check` with a light page of this size in a browser of its own; the process exits with 1 where that throws. `timeout` is in milliseconds. */
export async function inBrowser(viewport, timeout, check) {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
  try {
    const page = await browser.newPage({ viewport, colorScheme: "light" });
    page.setDefaultTimeout(timeout);
    await check(page);
  } catch (error) {
    console.error(`FAILED ${error.message}`);
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}
