// Synthetic answers in the shape of docs/http-api.md, for looking at the page without a collector.
// Development only: neither the built page nor the tests use it.

/** A small deterministic generator (mulberry32). */
export function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const MODULES = [
  ["/usr/bin/api", "native", ["api::router::dispatch", "api::handlers::orders::list", "api::db::pool::Pool<Conn>::acquire", "<api::model::Order as serde::Serialize>::serialize", "api::auth::verify_token", "api::cache::Lru<K, V>::get_or_insert_with", "api::pricing::quote"]],
  ["/usr/lib/x86_64-linux-gnu/libc.so.6", "native", ["__libc_start_main", "malloc", "free", "memcpy", "pthread_mutex_lock", "read", "clock_gettime"]],
  ["/usr/lib/x86_64-linux-gnu/libssl.so.3", "native", ["SSL_read", "SSL_write", "tls13_enc", "ossl_quic_tick"]],
  ["/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "native", ["aesni_gcm_encrypt", "sha256_block_data_order", "EVP_DigestUpdate", "BN_mod_exp_mont"]],
  ["[kernel]", "kernel", ["entry_SYSCALL_64_after_hwframe", "do_syscall_64", "__x64_sys_read", "vfs_read", "tcp_recvmsg", "copy_user_enhanced_fast_string", "schedule", "finish_task_switch"]],
  ["/usr/lib/x86_64-linux-gnu/libstdc++.so.6", "native (inlined)", ["std::map<std::string, int>::find(std::string const&)", "std::vector<int, std::allocator<int> >::push_back(int&&)", "std::__detail::_Map_base<int>::operator[]"]],
  ["/usr/bin/python3.11", "native", ["_PyEval_EvalFrameDefault", "PyObject_Call", "PyDict_GetItem", "gc_collect_main"]],
  ["/srv/jobs/report.py", "python", ["render_report", "aggregate", "load_rows", "parse_date"]],
  ["", "native", ["[anon]+0x7f31a0"]],
];

/** A call tree of about `count` nodes with the API's columns. */
export function flamegraph({ count, seed = 7, from, to, empty = false }) {
  const next = random(seed);
  const strings = [""];
  const index = new Map([["", 0]]);
  const intern = (text) => {
    let i = index.get(text);
    if (i === undefined) index.set(text, (i = strings.push(text) - 1));
    return i;
  };
  const kinds = ["root", "native", "kernel", "native (inlined)", "python"];
  const frames = { name: [0], module: [0], file: [0], line: [0], kind: [0] };
  const byModule = MODULES.map(([module, kind, names]) => {
    const extra = Array.from({ length: Math.max(0, Math.round(count / 900)) }, (_, i) => `${names[i % names.length]}_${i}`);
    return [...names, ...extra].map((name, i) => {
      frames.name.push(intern(name));
      frames.module.push(intern(module));
      frames.file.push(module === "/usr/bin/api" ? intern("src/handlers/orders.rs") : module.endsWith(".py") ? intern("report.py") : 0);
      frames.line.push(module === "/usr/bin/api" || module.endsWith(".py") ? 12 + i * 9 : 0);
      frames.kind.push(kinds.indexOf(kind));
      return frames.name.length - 1;
    });
  });
  const nodes = { depth: [0], frame: [0], self: [0], cut: [0] };
  const total = empty ? 0 : Math.round((to - from) * 1.37e9);
  const pick = (m) => byModule[m][Math.floor(next() ** 2 * byModule[m].length)];
  const grow = (value, depth, module, budget) => {
    const self = nodes.self.length - 1;
    if (depth > 70 || budget < 2 || value < 2000) {
      if (next() < 0.5) nodes.self[self] = value;
      else {
        nodes.self[self] = Math.round(value * 0.4);
        nodes.cut[self] = value - nodes.self[self];
      }
      return;
    }
    const width = 1 + Math.floor(next() ** 2.2 * Math.min(40, depth < 3 ? 6 : 9));
    const weights = Array.from({ length: width }, () => next() ** 3 + 0.01).sort((a, b) => b - a);
    const own = depth < 3 ? 0 : next() ** 3 * 0.5;
    const sum = weights.reduce((a, b) => a + b, 0);
    let left = value;
    for (const w of weights) {
      const child = Math.min(left, Math.round((value * (1 - own) * w) / sum));
      if (child < 1) break;
      left -= child;
      const m = next() < 0.62 ? module : Math.floor(next() * MODULES.length);
      nodes.depth.push(depth + 1);
      nodes.frame.push(pick(m));
      nodes.self.push(0);
      nodes.cut.push(0);
      grow(child, depth + 1, m, ((budget - width) * w) / sum);
    }
    nodes.self[self] += left;
  };
  if (!empty) grow(total, 0, 0, count * 1.35);
  const samples = Math.round(total / 5.26e7);
  return { from, to, type: "cpu", unit: "nanoseconds", total, samples, completeness: completeness(samples), strings, frames, kinds, nodes };
}

export function completeness(samples) {
  return { samples, lost: samples ? { ring_full: 21, spool_full: 4 } : {}, lost_total: samples ? 25 : 0, truncated: Math.round(samples * 0.004), unnamed: Math.round(samples * 0.02), unnamed_frames: 0.031, truncated_reasons: { copy_exhausted: Math.round(samples * 0.003), no_unwind_info: Math.round(samples * 0.001) } };
}

/** An answer without anything cut. */
export function unpruned(answer) {
  const { self, cut } = answer.nodes;
  return { ...answer, nodes: { ...answer.nodes, self: self.map((value, i) => value + cut[i]), cut: cut.map(() => 0) } };
}

/** The part of an answer under a path of names, without what was cut. */
export function under(answer, path) {
  const { depth, frame, self, cut } = answer.nodes;
  const name = (i) => answer.strings[answer.frames.name[frame[i]]];
  let node = 0;
  const chain = [];
  for (const step of path) {
    let child = -1;
    for (let i = node + 1; i < depth.length && depth[i] > depth[node]; i++) {
      if (depth[i] === depth[node] + 1 && name(i) === step) {
        child = i;
        break;
      }
    }
    if (child < 0) break;
    chain.push((node = child));
  }
  const nodes = { depth: [0], frame: [0], self: [0], cut: [0] };
  for (const [d, i] of chain.slice(0, -1).entries()) {
    nodes.depth.push(d + 1);
    nodes.frame.push(frame[i]);
    nodes.self.push(0);
    nodes.cut.push(0);
  }
  let total = 0;
  for (let i = node; i < depth.length && (i === node || depth[i] > depth[node]); i++) {
    nodes.depth.push(depth[i]);
    nodes.frame.push(frame[i]);
    nodes.self.push(self[i] + cut[i]);
    nodes.cut.push(0);
    total += self[i] + cut[i];
  }
  return { ...answer, total, nodes };
}

/** Functions with exact self and total; a stack counts once however often a function recurs in it. */
export function top(answer) {
  const { depth, frame, self, cut } = answer.nodes;
  const n = depth.length;
  const total = new Float64Array(n);
  const stack = [];
  for (let i = n - 1; i >= 0; i--) total[i] += self[i] + cut[i];
  const parent = new Int32Array(n).fill(-1);
  for (let i = 0; i < n; i++) {
    parent[i] = i ? stack[depth[i] - 1] : -1;
    stack[depth[i]] = i;
  }
  for (let i = n - 1; i > 0; i--) total[parent[i]] += total[i];
  const f = answer.frames;
  const open = new Int32Array(f.name.length).fill(-1);
  const sums = f.name.map(() => [0, 0]);
  const ends = new Int32Array(f.name.length);
  for (let i = 0; i < n; i++) {
    const k = frame[i];
    sums[k][0] += self[i] + cut[i];
    if (open[k] < 0 || i >= ends[k]) {
      sums[k][1] += total[i];
      open[k] = i;
      let e = i + 1;
      if (n < 200000) while (e < n && depth[e] > depth[i]) e++;
      ends[k] = e;
    }
  }
  const functions = sums.map(([s, t], k) => ({ name: answer.strings[f.name[k]], module: answer.strings[f.module[k]], file: answer.strings[f.file[k]], line: f.line[k], kind: answer.kinds[f.kind[k]], self: s, total: Math.max(s, t) }));
  return { unit: answer.unit, total: answer.total, completeness: answer.completeness, functions: functions.slice(1).filter((x) => x.total > 0).sort((a, b) => b.self - a.self) };
}

const SERVICES = [["api", 0.52, 3], ["postgres", 0.31, 2], ["worker", 0.22, 4], ["nginx", 0.14, 3], ["kernel", 0.08, 6], ["report-cron", 0.06, 1], ["redis", 0.04, 2]];

export function services() {
  return { services: SERVICES.map(([service, cores, hosts]) => ({ service, versions: ["1.4.2", "1.4.3"].slice(0, hosts > 2 ? 2 : 1), hosts, value: Math.round(cores * 9e11), unit: "nanoseconds", samples: Math.round(cores * 17100) })) };
}

export function timeseries(from, to, by) {
  const points = 90;
  const step = (to - from) / points;
  const next = random(3);
  const labels = by === "service" ? SERVICES : [["web-1", 0.6, 1], ["web-2", 0.5, 1], ["db-1", 0.3, 1]];
  const series = labels.map(([label, cores], k) => ({
    label,
    values: Array.from({ length: points }, (_, i) => Math.round(Math.max(0, cores * (1 + 0.35 * Math.sin(i / (6 + k * 2) + k) + 0.25 * (next() - 0.5) + (k === 2 && i > 52 && i < 64 ? 1.6 : 0))) * step * 1e9)),
  }));
  return { unit: "nanoseconds", step, from, points, series, rest: Array.from({ length: points }, () => Math.round(0.02 * step * 1e9)), completeness: completeness(1000) };
}

// What B does otherwise than A, by function: three times as much, a fifth more, half, nothing.
const CHANGED = new Map([["api::pricing::quote", 3], ["sha256_block_data_order", 1.2], ["malloc", 0.5], ["PyDict_GetItem", 0], ["SSL_read_4", 1.3], ["aesni_gcm_encrypt", 0.7]]);

/** A diff in the API's shape: a flamegraph as A, and B with the changes above and chance. */
export function diff(answer, { parameters, at, by, empty }) {
  const next = random(11);
  const { depth, frame, self, cut } = answer.nodes;
  const { strings, frames, kinds } = answer;
  const nameOf = (f) => strings[frames.name[f]];
  const noise = (value) => Math.round(value * (1 + 0.08 * (next() - 0.5)));
  const a = self.map((v) => (empty.includes("a") ? 0 : v));
  const b = self.map((v, i) => (empty.includes("b") ? 0 : noise(v * (CHANGED.get(nameOf(frame[i])) ?? 1))));
  const cutA = cut.map((v) => (empty.includes("a") ? 0 : v));
  const cutB = cut.map((v) => (empty.includes("b") ? 0 : noise(v)));
  const sum = (...columns) => columns.flat().reduce((x, y) => x + y, 0);
  const weights = [sum(a, cutA), sum(b, cutB)];
  const side = (name, weight) => {
    const [from, to] = [at(`from_${name}`), at(`to_${name}`)];
    const seconds = (to - from) * 3;
    return { from, to, query: parameters.get(`query_${name}`) || "{}", host_seconds: seconds, hosts: 3, windows: 12, samples: Math.round(weight / 5.26e7), weight, total: by === "share" ? (weight ? 1 : 0) : weight / seconds / 1e9 };
  };
  const sides = [side("a", weights[0]), side("b", weights[1])];
  const of = (column, k) => top({ ...answer, nodes: { depth, frame, self: column[0], cut: column[1] } }).functions.map((f) => ({ ...f, k }));
  const both = new Map();
  for (const f of [...of([a, cutA], 0), ...of([b, cutB], 1)]) {
    const key = `${f.name}\n${f.module}`;
    const entry = both.get(key) ?? { name: f.name, module: f.module, kind: f.kind, self: [0, 0], total: [0, 0] };
    const scale = sides[f.k].weight ? sides[f.k].total / sides[f.k].weight : 0;
    entry.self[f.k] += f.self * scale;
    entry.total[f.k] += f.total * scale;
    both.set(key, entry);
  }
  const functions = [...both.values()].map((f) => {
    const change = f.self[1] - f.self[0];
    const half = 0.06 * Math.max(f.self[0], f.self[1]) + sides[0].total * 0.0004;
    const flagged = CHANGED.has(f.name) && Math.abs(change) > half;
    const moved = f.name === "parse_date";
    const verdict = moved ? "moved" : !flagged ? "chance" : f.self[1] === 0 ? "gone" : change > 0 ? "grew" : "shrank";
    return { name: f.name, module: f.module, kind: f.kind, self_a: f.self[0], self_b: f.self[1], total_a: f.total[0], total_b: f.total[1], of: "self", change, low: change - half, high: change + half, q: flagged ? 0.003 : 0.6, verdict, moved_from: moved ? "parse_iso_date" : null, seen: half * 1.6 };
  });
  const told = (f) => (f.verdict === "chance" ? 0 : 1);
  functions.sort((x, y) => told(y) - told(x) || (told(x) ? Math.abs(y.change) - Math.abs(x.change) : y.total_a + y.total_b - x.total_a - x.total_b));
  const flagged = functions.filter(told).length;
  return {
    type: "cpu", unit: by, weight_unit: "nanoseconds", a: sides[0], b: sides[1],
    names: frames.name.map((i) => strings[i]), modules: frames.module.map((i) => strings[i]), kinds: frames.kind.map((i) => kinds[i]),
    tree: { depth, name: frame, a, b, cut_a: cutA, cut_b: cutB },
    functions_total: functions.length, functions: functions.slice(0, 2000),
    statistics: { dispersion: 1.4, fdr: 0.05, flagged, tested: functions.length, smallest_change: sides[0].total * 0.006, smallest_change_seen: "" },
    completeness: { a: completeness(sides[0].samples), b: completeness(sides[1].samples) },
    notes: empty ? [] : ["The spread was estimated from 3 of 5 hosts."],
  };
}

export function deploys(now, service) {
  const one = (name, version, previous, kind, ago) => ({ service: name, version, previous, kind, at: now - ago, first: now - ago, rolled_out: now - ago + 180, last: now, hosts: [{ host: "web-1" }, { host: "web-2" }], overlaps: true, text: "" });
  const all = [
    one("api", "1.4.2", "1.4.1", "deploy", 2 * 86400), one("worker", "7", "6", "deploy", 7 * 3600), one("api", "1.4.3", "1.4.2", "deploy", 3 * 3600), one("api", "1.4.2", "1.4.3", "rollback", 2 * 3600), one("api", "1.4.3", "1.4.2", "deploy", 520),
    { ...one("worker", "", "", "mark", 250), hosts: [], text: "cache flag on" },
  ];
  return all.filter((d) => service === "" || d.service === service);
}

export function compare(now, service) {
  const side = (version, ago) => ({ version, query: `{service="${service}", version="${version}"}`, from: now - ago - 900, to: now - ago });
  return { service, a: side("1.4.2", 86400), b: side("1.4.3", 0), why: "B begins 2 minutes after 1.4.3 was first seen, to leave out its warm-up; A is the same time of day the day before; both are 15 minutes long" };
}

export function hosts(now) {
  const figures = { memory_bytes: 31e6, rings_bytes: 8.4e6, memory_ceiling_bytes: 128e6, cpu_ceiling_millipercent: 1000, cpu_millipercent: 310, frequency_hz: 19, frequency_configured_hz: 19 };
  return ["web-1", "web-2", "db-1"].map((host, i) => ({ host, agent_version: "0.1.0", last_seen: now - 4 - i, samples: 17000 - 900 * i, lost: i === 1 ? { ring_full: 21 } : {}, caveats: {}, truncated: 12, figures }));
}

export function leaks(from, to, nothing) {
  const frame = (name) => ({ name, module: "/usr/bin/api", file: "src/session.rs", line: 42, kind: "native" });
  const suspect = (name, verdict, growth, evidence) => ({
    service: "api", version: "1.4.3", verdict, evidence, function: name, module: "/usr/bin/api", growth, low: growth * 0.8 - 2e6, high: growth * 1.2 + 2e6, rate: growth / 3600, old: 1.4e8, level: 2e8,
    reached: 171, freed: verdict === "leaks" ? 0 : 160, lived: 9e5, query: '{service="api", version="1.4.3"}', from, to, stack: ["malloc", name, "handle", "main"].map(frame), frames_left_out: 0, truncated: null,
  });
  const suspects = [
    suspect("api::session::remember", "leaks", 1.43e8, "171 sampled blocks reached the age of 9 min, none was freed after it: +136 MiB within 60 min (95 %: +107 MiB to +166 MiB)"),
    suspect("api::upload::buffer", "too_early", 4e6, "9 sampled blocks reached the age of 9 min, 3 were freed after it; within 60 min that means +1.2 MiB to +6.8 MiB: too early to tell"),
    suspect("api::cache::insert", "levels_off", -1e6, "171 sampled blocks reached the age of 9 min, 160 were freed after it: levels off near 191 MiB"),
  ];
  const killed = [{ service: "worker", version: "2024-a", host: "web-2", pid: "4711", comm: "worker", bytes: 9e8, query: '{service="worker", ended="killed"}', from: to - 600, to: to - 599 }];
  const groups = [{ service: "api", version: "1.4.3", query: '{service="api"}', from, to, age: 512, processes: 3 }];
  return nothing ? { horizon: 3600, groups: [], groups_left_out: 0, leaks: 0, suspects_total: 0, suspects: [], killed: [] } : { horizon: 3600, groups, groups_left_out: 0, leaks: 1, suspects_total: 3, suspects, killed };
}

/** Samples by tenth of a second: a wave over minutes, a pause each minute, a burst at one phase of each second. */
export function heatmap(from, to, empty) {
  const start = Math.floor(from);
  const seconds = Math.ceil(to) - start;
  const values = Array.from({ length: seconds * 10 }, (_, i) => {
    const second = start + Math.floor(i / 10);
    if (empty || second % 60 < 4) return 0;
    const wave = 6 + 4 * Math.sin(second / 25) + (i % 10 === Math.floor(second / 40) % 10 ? 14 : 0);
    return Math.max(0, Math.round(wave + ((i * 2654435761) % 7) - 3));
  });
  return { from: start, seconds, rows: 10, samples: values.reduce((a, b) => a + b, 0), values };
}
