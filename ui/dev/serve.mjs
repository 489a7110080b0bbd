// Serves ui/dist with synthetic answers, to look at the page without a collector. Development only.
// With --collector the answers are those of a running one.
//   node dev/serve.mjs [--port 4041] [--nodes 20000] [--empty] [--empty-a] [--no-agent] [--error] [--delay MS] [--collector URL]
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as synthetic from "./synthetic.mjs";

const argument = (name, fallback) => {
  const i = process.argv.indexOf(`--${name}`);
  return i < 0 ? fallback : process.argv[i + 1];
};
const flag = (name) => process.argv.includes(`--${name}`);
const dist = fileURLToPath(new URL("../dist", import.meta.url));
const count = Number(argument("nodes", "20000"));
const delay = Number(argument("delay", "0"));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

const instant = (text, now) => {
  if (!text || text === "now") return now;
  const relative = /^-(\d+)([smhdw])$/.exec(text);
  if (relative) return now - relative[1] * { s: 1, m: 60, h: 3600, d: 86400, w: 604800 }[relative[2]];
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : Date.parse(text) / 1000;
};

const cache = new Map();
// A large answer is packed once: the page is to be measured, not this server.
const packed = new WeakMap();
function graph(from, to) {
  const span = Math.round(to - from);
  if (!cache.has(span)) cache.set(span, synthetic.flamegraph({ count, from, to, empty: flag("empty") || flag("no-agent") }));
  return count > 50_000 ? cache.get(span) : { ...cache.get(span), from, to };
}

function answer(url) {
  const now = Date.now() / 1000;
  const p = url.searchParams;
  const from = instant(p.get("from") ?? "-15m", now);
  const to = instant(p.get("to"), now);
  const nothing = flag("no-agent");
  switch (url.pathname.slice("/api/v1/".length)) {
    case "flamegraph": {
      const whole = graph(from, to);
      if (p.get("min_share")) return synthetic.unpruned(whole);
      return p.get("path") ? synthetic.under(whole, p.get("path").split("\u001f")) : whole;
    }
    case "top": return synthetic.top(graph(from, to));
    case "timeseries": return nothing ? { unit: "nanoseconds", step: 10, from, points: 90, series: [], rest: [], completeness: synthetic.completeness(0) } : synthetic.timeseries(from, to, p.get("by") ?? "service");
    case "heatmap": return synthetic.heatmap(from, to, nothing);
    case "services": return nothing ? { services: [] } : synthetic.services();
    case "diff": return synthetic.diff(graph(instant(p.get("from_b") ?? "-15m", now), instant(p.get("to_b"), now)), { now, parameters: p, at: (name) => instant(p.get(name), now), by: p.get("by") ?? "cores", empty: nothing ? "ab" : flag("empty-a") ? "a" : "" });
    case "deploys": return { deploys: nothing ? [] : synthetic.deploys(now, p.get("service") ?? "").filter((d) => d.at >= from && d.at < to) };
    case "deploys/compare": return nothing || p.get("service") === "redis" ? null : synthetic.compare(now, p.get("service") ?? "api");
    case "labels/version/values": return { values: ["1.4.2", "1.4.3"] };
    case "labels/host/values": return { values: ["web-1", "web-2", "db-1"] };
    case "hosts": return { hosts: nothing ? [] : synthetic.hosts(now) };
    case "leaks": return synthetic.leaks(from, to, nothing);
    case "labels": return { labels: ["service", "version", "host", "pid", "exe", "comm"] };
    case "types": return { types: [{ type: "cpu", unit: "nanoseconds" }] };
    case "status": return { version: "0.1.0", started: now - 60, samples_stored: nothing ? 0 : 100, batches: 0, store_bytes: 4.1e9, store: { writable: true, raw_from: now - 3 * 86400, minute_from: now - 30 * 86400, hour_from: 0, deleted_by_size: 0, refused_full: 0 }, symbols: { objects: 812, bytes: 3.1e9, quota_bytes: 20e9, bad: 2 } };
    default: return null;
  }
}

async function file(path) {
  const name = path === "/" || ["/explore", "/hosts", "/diff", "/leaks"].includes(path) ? "/index.html" : path;
  return [await readFile(join(dist, normalize(name))), TYPES[extname(name)] ?? "application/octet-stream"];
}

createServer(async (request, response) => {
  const url = new URL(request.url, "http://localhost");
  // What the collector should send; the page must live with it.
  response.setHeader("content-security-policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'");
  try {
    if (!url.pathname.startsWith("/api/")) {
      const [body, type] = await file(url.pathname);
      return response.writeHead(200, { "content-type": type }).end(body);
    }
    await new Promise((resolve) => setTimeout(resolve, delay));
    if (argument("collector")) {
      const real = await fetch(new URL(request.url, argument("collector")));
      return response.writeHead(real.status, { "content-type": real.headers.get("content-type") }).end(Buffer.from(await real.arrayBuffer()));
    }
    if (flag("error") && /flamegraph$|diff$/.test(url.pathname)) return response.writeHead(400, { "content-type": "application/json" }).end('{"error": "the selector could not be read at column 9: write label=\\"value\\""}');
    const found = answer(url);
    if (!found) return response.writeHead(404, { "content-type": "application/json" }).end('{"error": "no such endpoint"}');
    if (!packed.has(found)) packed.set(found, gzipSync(JSON.stringify(found), { level: 1 }));
    const gzip = packed.get(found);
    response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" }).end(gzip);
  } catch (error) {
    response.writeHead(error.code === "ENOENT" ? 404 : 500).end(String(error.message));
  }
}).listen(Number(argument("port", "4041")), "127.0.0.1", function () {
  console.log(`http://127.0.0.1:${this.address().port}/`);
});
