// The same three functions as burn.cpp, in JavaScript. Run with --perf-basic-prof, which makes V8 write /tmp/perf-PID.map.
//
//     node --perf-basic-prof burn.js SECONDS [cpu]
//
// With `cpu` the seconds are of CPU time, so that a busy machine makes it slow and not short.
//
// Prints `ready`, and at its end the truth as JSON. `process.cpuUsage()` counts all threads of the process; the
// other threads (compiler, garbage collector) have nothing to do here.
"use strict";

const spent = { burn_hot: 0, burn_warm: 0, burn_cool: 0 };

function cpuNanoseconds() {
  const usage = process.cpuUsage();
  return (usage.user + usage.system) * 1000;
}

function burn_hot() {
  const start = cpuNanoseconds();
  let now = start;
  let state = 1;
  while (now - start < 23100000) {
    for (let i = 0; i < 200000; i++) state = (Math.imul(state, 1664525) + 1013904223) | 0;
    now = cpuNanoseconds();
  }
  spent.burn_hot += now - start;
  return state;
}

function burn_warm() {
  const start = cpuNanoseconds();
  let now = start;
  let state = 1;
  while (now - start < 6600000) {
    for (let i = 0; i < 200000; i++) state = (Math.imul(state, 1664525) + 1013904223) | 0;
    now = cpuNanoseconds();
  }
  spent.burn_warm += now - start;
  return state;
}

function burn_cool() {
  const start = cpuNanoseconds();
  let now = start;
  let state = 1;
  while (now - start < 3300000) {
    for (let i = 0; i < 200000; i++) state = (Math.imul(state, 1664525) + 1013904223) | 0;
    now = cpuNanoseconds();
  }
  spent.burn_cool += now - start;
  return state;
}

function work(milliseconds) {
  const clock = process.argv[3] === "cpu" ? () => cpuNanoseconds() / 1e6 : Date.now;
  const end = clock() + milliseconds;
  let sum = 0;
  while (clock() < end) sum += burn_hot() + burn_warm() + burn_cool();
  return sum;
}

console.log("ready");
work(Number(process.argv[2]) * 1000);
console.log(JSON.stringify(spent));
