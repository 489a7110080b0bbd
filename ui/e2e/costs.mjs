// What pages cost in a real browser: CPU time of the processes that draw pages, so that what else the machine does hardly counts.
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const STEPS = 24;
const UI = fileURLToPath(new URL("..", import.meta.url));

/** The value that so large a part of some is not above. */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** Serves the built page with a synthetic profile of so many nodes: `{address, stop}`. */
export async function synthetic(nodes) {
  const server = spawn(process.execPath, ["dev/serve.mjs", "--port", "0", "--nodes", String(nodes)], { cwd: UI, stdio: ["ignore", "pipe", "inherit"] });
  const [address] = await new Promise((resolve, reject) => {
    server.stdout.once("data", (line) => resolve(String(line).trim().split("\n")));
    server.once("exit", (code) => reject(new Error(`dev/serve.mjs ended with ${code}`)));
  });
  return { address, stop: () => server.kill() };
}

/** A meter of the processes that draw the pages of a page's browser. */
export async function meter(page) {
  const browser = await page.context().browser().newBrowserCDPSession();
  const session = await page.context().newCDPSession(page);
  const seen = new Map();
  const spent = async () => {
    const { processInfo } = await browser.send("SystemInfo.getProcessInfo");
    for (const { id, type, cpuTime } of processInfo) if (type === "renderer") seen.set(id, Math.max(cpuTime, seen.get(id) ?? 0));
    return [...seen.values()].reduce((sum, seconds) => sum + seconds, 0) * 1000;
  };
  return {
    /** Milliseconds of CPU that drawing pages takes while `run` runs, on all threads, and of wall time. */
    async cost(run) {
      const [cpu, began] = [await spent(), performance.now()];
      await run();
      const wall = performance.now() - began;
      return { cpu: (await spent()) - cpu, wall };
    },
    /** MiB of anonymous memory of the largest of them, after a collection. */
    async memory() {
      await session.send("HeapProfiler.collectGarbage");
      const { processInfo } = await browser.send("SystemInfo.getProcessInfo");
      const sizes = processInfo.filter(({ type }) => type === "renderer").map(async ({ id }) => Number(/RssAnon:\s+(\d+)/.exec(await readFile(`/proc/${id}/status`, "utf8").catch(() => ""))?.[1] ?? 0) / 1024);
      return Math.max(...(await Promise.all(sizes)));
    },
  };
}

/** Waits until the page has drawn twice more. */
export const frames = (page) => page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));

/** Zooms in and out around moving places by ctrl-wheel over an element; `after` is called when each step is drawn. */
export async function zoomSteps(page, element, steps, after) {
  const box = await element.boundingBox();
  await page.keyboard.down("Control");
  for (let i = 0; i < steps; i++) {
    await page.mouse.move(box.x + box.width * (0.2 + 0.6 * ((i * 0.37) % 1)), box.y + box.height * 0.6);
    await page.mouse.wheel(0, i % 12 < 6 ? -120 : 120);
    await frames(page);
    await after();
  }
  await page.keyboard.up("Control");
}

const drawn = () => (window.__flamekeeper?.nodes ?? 0) > 1 && window.__flamekeeper.timings.draw > 0;

/** What Explore costs with the profile that a collector at `address` answers. The second time it is opened counts: its scripts are compiled then. */
export async function explore(page, address) {
  const costs = await meter(page);
  const open = async () => {
    await page.goto(`${address}explore?view=flame`);
    await page.waitForFunction(drawn);
    await frames(page);
  };
  await open();
  const load = await costs.cost(open);
  // From the end of the answer to the picture, as the page itself saw it.
  const painted = await page.evaluate(() => {
    const answer = performance.getEntriesByType("resource").find((entry) => entry.name.includes("/api/v1/flamegraph"));
    return window.__flamekeeper.timings.firstDraw - answer.responseEnd;
  });
  const nodes = await page.evaluate(() => window.__flamekeeper.nodes);
  const decode = await page.evaluate(() => window.__flamekeeper.timings.decode);
  const draws = [];
  const zoom = await costs.cost(() => zoomSteps(page, page.locator(".flame-canvas"), STEPS, async () => draws.push(await page.evaluate(() => window.__flamekeeper.timings.draw))));
  const searches = await page.evaluate(() => ["SSL_read", "vfs", "/^std::.*push/", "aesni", "nothing is called so", "api::", "Pool", "read", "e"].map((text) => Math.min(...[1, 2, 3].map(() => window.__flamekeeper.timeSearch(text)))));
  const { name, module } = await page.evaluate(() => window.__flamekeeper.somewhere);
  const transforms = {};
  for (const [kind, subject] of [["focus", name], ["hide", name], ["merge", name], ["recursion", name], ["module", module]]) {
    const cost = await costs.cost(() => page.evaluate((transform) => window.__flamekeeper.timeTransform(transform), { kind, subject }));
    transforms[kind] = cost.cpu;
  }
  return { nodes, load, painted, decode, draw: quantile(draws, 0.5), slowDraw: quantile(draws, 0.95), zoom: zoom.cpu / STEPS, search: quantile(searches, 0.5), transforms, memory: await costs.memory() };
}

/** What it costs to look at another window, step by step back: the page's CPU time until its answer is drawn (the median), and the time from the question to the picture and from the end of the answer to it (the best). */
export async function steps(page, address, count) {
  const costs = await meter(page);
  await page.goto(`${address}explore?view=flame`);
  await page.waitForFunction(drawn);
  await frames(page);
  const cpu = [];
  const whole = [];
  const own = [];
  for (let i = 0; i < count; i++) {
    const before = await page.evaluate(() => window.__flamekeeper.timings.treeDraw);
    const cost = await costs.cost(async () => {
      await page.keyboard.press("[");
      await page.waitForFunction((drawnBefore) => window.__flamekeeper.timings.treeDraw > drawnBefore, before);
    });
    cpu.push(cost.cpu);
    const times = await page.evaluate(() => {
      const answer = performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/api/v1/flamegraph")).at(-1);
      const painted = window.__flamekeeper.timings.treeDraw;
      return [painted - answer.startTime, painted - answer.responseEnd];
    });
    whole.push(times[0]);
    own.push(times[1]);
  }
  return { cpu: quantile(cpu, 0.5), whole: Math.min(...whole), own: Math.min(...own) };
}

/** What the page of diffs costs: decoding, and drawing while it is zoomed. */
export async function diff(page, address) {
  await page.goto(`${address}diff?view=flame&whole=1`);
  await page.waitForFunction(drawn);
  const draws = [];
  await zoomSteps(page, page.locator(".flame-canvas"), STEPS, async () => draws.push(await page.evaluate(() => window.__flamekeeper.timings.draw)));
  const { nodes, decode } = await page.evaluate(() => ({ nodes: window.__flamekeeper.nodes, decode: window.__flamekeeper.timings.decode }));
  return { nodes, decode, draw: quantile(draws, 0.5) };
}
