// speedscope's own page (npm `speedscope`), served on loopback, so that it judges what is exported.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };

/** What Chromium needs to draw WebGL, which speedscope wants, on a machine without a graphics card. */
export const WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"];

/** Serves speedscope out of the folder that it was installed in, and `files` beside it: `{address, close}`. */
export async function serve(folder, files = {}) {
  const server = createServer(async (request, response) => {
    const asked = new URL(request.url, "http://localhost").pathname;
    const path = asked === "/" ? "/index.html" : asked;
    try {
      const body = files[path] ?? (await readFile(join(folder, "dist/release", normalize(path))));
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { address: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** What speedscope lists of a file as its functions, in its sandwich view, by their totals: only the rows that are seen are there. */
export async function functionsIn(page, address, file) {
  const failures = [];
  page.on("pageerror", (error) => failures.push(error.message));
  page.on("dialog", (dialog) => (failures.push(dialog.message()), dialog.dismiss()));
  await page.goto(address);
  await page.locator("input[type=file]").setInputFiles(file);
  await page.getByText("Sandwich").click();
  await page.locator("tr:has(td)").first().waitFor();
  await page.locator("th", { hasText: "Total" }).click();
  const rows = await page.locator("tr:has(td)").allInnerTexts();
  if (failures.length > 0) throw new Error(`speedscope says: ${failures.join("; ")}`);
  return rows;
}
