//! Java and JavaScript under the agent's engine (`flamekeeper record`): functions by name, their shares, and stacks to the
//! root, with and without frame pointers, compiled and interpreted, by a virtual machine's own records, by a perf map, and by
//! a jitdump.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::path::Path;
use std::process::Command;

use flamekeeper_testing::programs::{alone, binary};
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::shares::assert_share;
use flamekeeper_testing::tools::require;
use flamekeeper_testing::workload::{Truth, script};

/// Of CPU time of each thread: a busy machine makes the tests slow and not short of samples.
const SECONDS: &str = "3";
const FREQUENCY: &str = "199";
const FUNCTIONS: [&str; 3] = ["burn_hot", "burn_warm", "burn_cool"];
/// What the compiler inlines has no frame of its own, and the three functions are to have one.
const WHOLE: [&str; 2] = ["-XX:CompileCommand=quiet", "-XX:CompileCommand=dontinline,Burn::burn_*"];

/// What was recorded of a workload.
struct Recorded {
    /// Stacks, root first, with their CPU time.
    stacks: Vec<(Vec<String>, u64)>,
    truth: Truth,
    samples: u64,
}

fn record(scratch: &Scratch, command: &mut Command) -> Recorded {
    let file = scratch.join("out.folded");
    let mut program = Command::new(binary("flamekeeper"));
    program.args(["record", "--frequency", FREQUENCY, "-o"]).arg(&file).arg("--").arg(command.get_program()).args(command.get_args());
    let output = program.current_dir(scratch.path()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let truth = Truth(serde_json::from_str(printed.lines().last().unwrap()).unwrap_or_else(|error| panic!("{error} in {printed:?}")));
    let summary = errors.lines().find(|line| line.contains(" samples at ")).unwrap_or_else(|| panic!("no summary: {errors}"));
    eprintln!("{summary}");
    let samples = summary.split(' ').next().and_then(|count| count.parse().ok()).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let stack = |line: &str| {
        let (stack, value) = line.rsplit_once(' ').unwrap();
        (stack.split(';').map(str::to_owned).collect(), value.parse().unwrap())
    };
    Recorded { stacks: text.lines().map(stack).collect(), truth, samples }
}

impl Recorded {
    /// CPU time of the stacks that a rule accepts.
    fn time(&self, accepts: impl Fn(&[String]) -> bool) -> u64 {
        self.stacks.iter().filter(|(stack, _)| accepts(stack)).map(|(_, time)| time).sum()
    }

    /// All shares agree with the truth, and next to nothing of it is in frames without a name.
    fn check_shares(&self, is: impl Fn(&str, &str) -> bool) {
        let of = |function: &str| self.time(|stack| stack.iter().any(|name| is(name, function)));
        let all: u64 = FUNCTIONS.iter().map(|function| of(function)).sum();
        for function in FUNCTIONS {
            assert_share(function, (of(function), all), self.truth.share(function), self.samples);
        }
        let nameless = self.time(|stack| stack.iter().any(|name| name.starts_with("[anon]")));
        assert!(nameless * 100 <= all * 5, "{nameless} ns are on stacks with nameless frames, {all} ns in the functions");
    }
}

/// Runs the Java workload, and checks that its stacks are whole: from a thread's start over the recursion to the function.
fn check_java(name: &str, options: &[&str]) {
    let _alone = alone();
    let scratch = Scratch::new(name);
    compile(scratch.path());
    let recorded = record(&scratch, Command::new(require("java")).args(options).args(WHOLE).args(["Burn", SECONDS, "2"]));
    recorded.check_shares(|name, function| name == format!("void Burn.{function}()"));
    let burns = |stack: &[String]| stack.iter().any(|name| name == "void Burn.burn_hot()");
    let whole = |stack: &[String]| {
        let deep = stack.iter().filter(|name| *name == "void Burn.deep(int)").count();
        let started = stack.first().is_some_and(|root| root.contains("clone") || root == "_start");
        started && deep >= 2 && stack.iter().any(|name| name == "void Burn.work(long)" || name.starts_with("void Burn.main("))
    };
    let (all, rooted) = (recorded.time(burns), recorded.time(|stack| burns(stack) && whole(stack)));
    eprintln!("{name}: {rooted} of {all} ns of burn_hot are on whole stacks");
    assert!(rooted * 100 >= all * 98, "{rooted} of {all} ns of burn_hot are on whole stacks");
}

fn compile(folder: &Path) {
    let compiled = Command::new(require("javac")).arg("-d").arg(folder).arg(script("Burn.java")).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

/// Compiled Java without frame pointers: methods by name, and stacks whole, by the machine's own records.
#[test]
fn java_without_frame_pointers() {
    check_java("java", &[]);
}

/// The same with frame pointers.
#[test]
fn java_with_frame_pointers() {
    check_java("java-fp", &["-XX:+PreserveFramePointer"]);
}

/// Interpreted frames are whole and named too.
#[test]
fn java_interpreted() {
    check_java("java-interpreted", &["-Xint"]);
}

fn check_node(option: &str) {
    let _alone = alone();
    let scratch = Scratch::new("node");
    let mut node = Command::new(require("node"));
    // Its files go where it runs: both the jitdump and V8's own log.
    let recorded = record(&scratch, node.arg(option).arg(script("burn.js")).args([SECONDS, "cpu"]));
    recorded.check_shares(|name, function| name.contains(&format!("{function} ")));
}

/// Node with a perf map.
#[test]
fn node_with_a_perf_map() {
    check_node("--perf-basic-prof");
}

/// Node with a jitdump, which is found by the mapping that marks it.
#[test]
fn node_with_a_jitdump() {
    check_node("--perf-prof");
}
