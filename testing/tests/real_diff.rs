//! Diffs of real runs: of the same program twice, and of one in which a function takes more.
//!
//! `cargo test --workspace --test real_diff -- --ignored --nocapture` measures what `docs/benchmarks.md` states, in some minutes.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use flamekeeper_testing::programs::{alone, binary};
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::tools::require;
use serde_json::Value;

/// A service that does the same work for each request, one every 10 ms: 20 functions whose shares follow Zipf's law. `EXTRA` is by how many per cent more the first one does.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#ifndef EXTRA
#define EXTRA 0
#endif
static volatile unsigned long sink;
#define WORK(n, rounds) \
  __attribute__((noinline)) static void work_##n(void) { \
    unsigned long x = sink + n; \
    for (long i = 0; i < (rounds); i++) x = x * 6364136223846793005ul + 1442695040888963407ul; \
    sink = x; \
  }
#define UNIT 1800000L
WORK(1, UNIT / 100 * (100 + EXTRA)) WORK(2, UNIT / 2) WORK(3, UNIT / 3) WORK(4, UNIT / 4) WORK(5, UNIT / 5)
WORK(6, UNIT / 6) WORK(7, UNIT / 7) WORK(8, UNIT / 8) WORK(9, UNIT / 9) WORK(10, UNIT / 10)
WORK(11, UNIT / 11) WORK(12, UNIT / 12) WORK(13, UNIT / 13) WORK(14, UNIT / 14) WORK(15, UNIT / 15)
WORK(16, UNIT / 16) WORK(17, UNIT / 17) WORK(18, UNIT / 18) WORK(19, UNIT / 19) WORK(20, UNIT / 20)
__attribute__((noinline)) static void request(void) {
  work_1(); work_2(); work_3(); work_4(); work_5(); work_6(); work_7(); work_8(); work_9(); work_10();
  work_11(); work_12(); work_13(); work_14(); work_15(); work_16(); work_17(); work_18(); work_19(); work_20();
}
int main(int count, char **arguments) {
  long rounds = count > 1 ? atol(arguments[1]) : 100;
  struct timespec next;
  clock_gettime(CLOCK_MONOTONIC, &next);
  for (long i = 0; i < rounds; i++) {
    request();
    next.tv_nsec += 10000000;
    if (next.tv_nsec >= 1000000000) { next.tv_nsec -= 1000000000; next.tv_sec++; }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
  }
  return 0;
}
"#;

fn build(scratch: &Scratch, name: &str, extra: u32) -> PathBuf {
    let (source, program) = (scratch.join("service.c"), scratch.join(name));
    std::fs::write(&source, SOURCE).unwrap();
    let define = format!("-DEXTRA={extra}");
    let output = Command::new(require("gcc")).args(["-O1", "-g", &define, "-o"]).arg(&program).arg(&source).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

/// Samples a run of so many requests into a file.
fn record(program: &Path, requests: u32, file: &Path) {
    let mut command = Command::new(binary("flamekeeper"));
    command.args(["record", "--frequency", "999", "-o"]).arg(file).arg("--").arg(program).arg(requests.to_string());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn diff(a: &[PathBuf], b: &[PathBuf], more: &[&str]) -> (Option<i32>, Value) {
    let mut command = Command::new(binary("flamekeeper"));
    // Each run does the same requests, however long it takes on a busy machine.
    command.args(["diff", "--by", "samples", "--output", "json"]).args(more);
    a.iter().for_each(|file| _ = command.arg("--a").arg(file));
    b.iter().for_each(|file| _ = command.arg("--b").arg(file));
    let output = command.output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), report)
}

fn files(scratch: &Scratch, name: &str, count: usize) -> Vec<PathBuf> {
    (0..count).map(|number| scratch.join(&format!("{name}{number}.pb.gz"))).collect()
}

/// Null diffs of real runs, one against one and three against three, and a regression of 5 % and 20 % in one function. Runs of both programs
/// alternate, so that what the machine does meanwhile happens to both.
#[test]
#[ignore = "a measurement of some minutes"]
fn real_runs() {
    let _alone = alone();
    let number = |name: &str, default: u32| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (requests, runs) = (number("REQUESTS", 400), number("RUNS", 12) as usize);
    let scratch = Scratch::new("diff-real");
    let programs = [("base", 0), ("five", 5), ("twenty", 20)].map(|(name, extra)| (name, build(&scratch, name, extra)));
    let recorded = programs.each_ref().map(|(name, _)| files(&scratch, name, runs));
    for run in 0..runs {
        for ((_, program), files) in programs.iter().zip(&recorded) {
            record(program, requests, &files[run]);
        }
    }
    let [base, five, twenty] = &recorded;
    let mut nulls = Vec::new();
    for a in 0..runs {
        nulls.extend((a + 1..runs).map(|b| diff(&base[a..=a], &base[b..=b], &["--fail-above", "5%"])));
    }
    count("one run against one", &nulls);
    let triples: Vec<_> = (0..runs.saturating_sub(5))
        .map(|first| diff(&base[first..first + 3], &base[first + 3..first + 6], &["--fail-above", "5%"]))
        .collect();
    count("three runs against three", &triples);
    for (name, files) in [("5 %", five), ("20 %", twenty)] {
        for runs in [1, 3, runs / 2, runs] {
            let (code, report) = diff(&base[..runs], &files[..runs], &["--fail-above", "1%"]);
            let found = report["regressions"].as_array().unwrap().iter().find(|function| function["name"] == "work_1");
            let told = found.map_or_else(
                || "not flagged".to_owned(),
                |found| {
                    format!(
                        "{:+.1} % ({:+.1} % to {:+.1} %)",
                        percent(&found["relative"]),
                        percent(&found["relative_low"]),
                        percent(&found["relative_high"])
                    )
                },
            );
            let others = report["flagged"].as_u64().unwrap() - u64::from(found.is_some());
            eprintln!(
                "{name} more in work_1, {runs} runs a side, {} samples: {told}; {others} others flagged; exit code {code:?}; {}",
                report["a"]["samples"], report["smallest_change_seen"]
            );
        }
    }
}

fn percent(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN) * 100.0
}

fn count(what: &str, diffs: &[(Option<i32>, Value)]) {
    let flagged = diffs.iter().filter(|(_, report)| report["flagged"].as_u64().unwrap() > 0).count();
    let failed = diffs.iter().filter(|(code, _)| *code == Some(1)).count();
    let largest = diffs
        .iter()
        .flat_map(|(_, report)| report["regressions"].as_array().unwrap())
        .map(|found| percent(&found["relative"]))
        .fold(0.0, f64::max);
    eprintln!("{what}: {flagged} of {} null diffs flag something (largest {largest:+.1} %), {failed} fail a gate of 5 %", diffs.len());
}
