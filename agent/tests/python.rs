//! Python programs of known truth, in every version that is there: the distribution's (3.11 on Debian 12), 3.12, 3.13 and 3.14, which
//! `./dev test` unpacks into `target/pythons`, and those that `FLAMEKEEPER_PYTHONS` names, separated by colons. Needs root (or CAP_BPF and its
//! company).

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use flamekeeper_agent::engine::{Engine, EngineConfig, EventChoice, Target};
use flamekeeper_agent::identity::{Identity, IdentityConfig};
use flamekeeper_agent::stop::StopFlag;
use flamekeeper_profile::{Batch, Caveat, FrameKind, Series, StackEnd};

const FREQUENCY: u32 = 999;
const SECONDS: &str = "16";
/// The parts of the workload that it measures.
const PARTS: [&str; 9] =
    ["shorts", "through_sort", "through_reduce", "through_generator", "through_init", "through_recursion", "one_line", "left", "right"];

/// A frame: kind, function, file and line; native frames have no name here.
type Frame = (FrameKind, String, String, u32);

/// What one interpreter did, and what was sampled of it.
struct Run {
    python: String,
    truth: BTreeMap<String, u64>,
    /// Root first, with the number of samples.
    stacks: Vec<(Vec<Frame>, StackEnd, u64)>,
    /// Samples that the ledger counts as without frames of the interpreter.
    caveats: u64,
}

fn workload() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testing/workloads/nested.py").canonicalize().unwrap()
}

fn pythons() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("pythons");
    let mut pythons = vec![PathBuf::from("/usr/bin/python3")];
    pythons.extend(["python3.12", "python3.13", "python3.14"].map(|name| folder.join(name)));
    if let Some(more) = std::env::var_os("FLAMEKEEPER_PYTHONS") {
        pythons.extend(std::env::split_paths(&more));
    }
    for python in &pythons {
        assert!(python.is_file(), "this test needs {}; `./dev test` fetches it", python.display());
    }
    pythons
}

static RUNS: LazyLock<Vec<Run>> = LazyLock::new(|| {
    std::thread::scope(|scope| {
        let runs: Vec<_> = pythons().into_iter().zip(0..).map(|(python, number)| scope.spawn(move || run(&python, number))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
});

/// Samples the workload in one interpreter from its start to its end.
fn run(python: &Path, number: u32) -> Run {
    let truth = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{}-{number}.json", std::process::id()));
    let arguments = vec![workload().into(), SECONDS.into(), truth.clone().into()];
    let config = EngineConfig {
        frequency: FREQUENCY,
        window: Duration::from_secs(3600),
        event: EventChoice::CpuClock,
        target: Target::Command { program: python.into(), arguments },
        ..EngineConfig::default()
    };
    let mut engine = Engine::open(config, Identity::new(IdentityConfig::default())).unwrap();
    let mut batches: Vec<Batch> = Vec::new();
    engine.run(&StopFlag::new().unwrap(), &mut |batch| batches.push(batch)).unwrap();
    assert!(engine.exit_status().unwrap().unwrap().success(), "{} failed", python.display());
    let text = std::fs::read_to_string(&truth).unwrap();
    std::fs::remove_file(truth).unwrap();
    let [batch] = &batches[..] else { panic!("{} windows", batches.len()) };
    let samples = batch.series.iter().filter(|series| series.sample_type.is_periodic());
    let stacks = samples.flat_map(|series| stacks(batch, series)).collect();
    let caveats = batch.ledger.noted(Caveat::InterpreterFrames);
    Run { python: python.display().to_string(), truth: serde_json::from_str(&text).unwrap(), stacks, caveats }
}

fn stacks(batch: &Batch, series: &Series) -> Vec<(Vec<Frame>, StackEnd, u64)> {
    let tables = &batch.tables;
    let frame = |id| {
        let location = tables.location(id).unwrap();
        let line = location.lines.first();
        let text = |id| tables.string(id).to_owned();
        let (function, file) = line.map(|line| (text(line.function), text(line.file))).unwrap_or_default();
        (location.kind, function, file, line.map_or(0, |line| line.line))
    };
    let stack = |(id, count): &(_, u64)| {
        let stack = tables.stack(*id).unwrap();
        (stack.locations.iter().rev().map(|id| frame(*id)).collect(), stack.end, *count)
    };
    series.values.iter().map(stack).collect()
}

/// Asserts that `found` of `total` is the share `truth`, by four standard deviations of a binomial share.
fn assert_share(what: &str, found: u64, total: u64, truth: f64) {
    assert!(total >= 100, "{what}: only {total} samples, too few to tell");
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (share, samples) = (found as f64 / total as f64, total as f64);
    let allowed = 4.0 * (truth * (1.0 - truth) / samples).sqrt() + 2.0 / samples;
    eprintln!("{what}: {share:.4}, truth {truth:.4} ± {allowed:.4} ({total} samples)");
    assert!((share - truth).abs() <= allowed, "{what}: {share:.4}, the truth is {truth:.4} ± {allowed:.4} ({total} samples)");
}

impl Run {
    /// Samples with a function in their stack.
    fn samples_in(&self, function: &str) -> u64 {
        let with = self.stacks.iter().filter(|(frames, ..)| frames.iter().any(|frame| frame.1 == function));
        with.map(|(.., count)| count).sum()
    }

    /// The stacks with a function in them, without the natives before `main`, and with each row of native frames as one `C`.
    fn shapes(&self, function: &str) -> Vec<String> {
        let with = self.stacks.iter().filter(|(frames, ..)| frames.iter().any(|frame| frame.1 == function));
        let shape = |frames: &[Frame]| {
            let mut names: Vec<&str> = Vec::new();
            for (kind, name, ..) in frames.iter().skip_while(|frame| frame.1 != "main") {
                let name = if *kind == FrameKind::Cpython { name } else { "C" };
                if name != "C" || names.last() != Some(&"C") {
                    names.push(name);
                }
            }
            names.join(";")
        };
        with.map(|(frames, ..)| shape(frames)).collect()
    }
}

/// Functions of some hundred nanoseconds have the shares of their calls: what is told is the sampled moment, and not what
/// runs when the record is read.
#[test]
fn short_functions_have_their_shares() {
    for run in &*RUNS {
        let counts = ["short_a", "short_b", "short_c"].map(|function| run.samples_in(function));
        let total = counts.iter().sum();
        for ((count, share), name) in counts.into_iter().zip([0.7, 0.2, 0.1]).zip(["a", "b", "c"]) {
            assert_share(&format!("{} short_{name}", run.python), count, total, share);
        }
    }
}

/// All parts have the shares that the workload measured, those of two threads included.
#[test]
fn parts_have_their_shares() {
    for run in &*RUNS {
        let total: u64 = PARTS.iter().map(|part| run.samples_in(part)).sum();
        let spent: u64 = run.truth.values().sum();
        for part in PARTS {
            #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
            let truth = run.truth[part] as f64 / spent as f64;
            assert_share(&format!("{} {part}", run.python), run.samples_in(part), total, truth);
        }
    }
}

/// Python that C calls and that calls C again is nested as it runs, and a recursion is as deep as it is.
#[test]
fn stacks_are_nested_as_they_run() {
    for run in &*RUNS {
        let dig = ["dig"; 50].join(";");
        let expected = [
            ("key_function", "main;measured;through_sort;C;key_function"),
            ("add", "main;measured;through_reduce;C;add"),
            ("numbers", "main;measured;through_generator;C;numbers"),
            ("bottom", &*format!("main;measured;through_recursion;{dig};bottom")),
        ];
        for (function, begin) in expected {
            let shapes = run.shapes(function);
            assert!(!shapes.is_empty(), "{}: {function} was never sampled", run.python);
            for shape in shapes {
                if function == "numbers" && ["", ";C"].iter().any(|rest| shape == format!("main;measured;through_generator;numbers{rest}"))
                {
                    // The call that makes the generator runs in its function's own frame, called by Python.
                    continue;
                }
                let rest = shape.strip_prefix(begin).unwrap_or_else(|| panic!("{}: {shape}, not {begin}", run.python));
                assert!(["", ";C", ";spin", ";spin;C"].contains(&rest), "{}: {shape}", run.python);
            }
        }
        // Since 3.12 the interpreter calls __init__ itself, by a frame of its own that is not shown.
        for shape in run.shapes("Thing.__init__") {
            let shape = shape.replace("through_init;C;", "through_init;");
            assert!(shape.starts_with("main;measured;through_init;Thing.__init__"), "{}: {shape}", run.python);
        }
    }
}

/// Every frame of the script has its file, and a line of its function; the one busy line of a function is that line.
#[test]
fn frames_have_files_and_lines() {
    let source = std::fs::read_to_string(workload()).unwrap();
    let file = workload().display().to_string();
    let lines = functions(&source);
    for run in &*RUNS {
        let mut seen = 0;
        for frame in run.stacks.iter().flat_map(|(frames, ..)| frames).filter(|frame| frame.2 == file) {
            let Some(range) = lines.get(&*frame.1) else { continue };
            assert!(range.contains(&frame.3), "{}: {frame:?} is not in {range:?}", run.python);
            seen += 1;
        }
        assert!(seen > 100, "{}: only {seen} frames", run.python);
        let busy = u32::try_from(source.lines().position(|line| line.contains("sum(range(20000))")).unwrap() + 1).unwrap();
        let at: Vec<u32> =
            run.stacks.iter().flat_map(|(frames, ..)| frames).filter(|frame| frame.1 == "one_line").map(|frame| frame.3).collect();
        let right = at.iter().filter(|line| **line == busy).count();
        assert!(right > 0 && right * 10 >= at.len() * 9, "{}: {at:?}, not {busy}", run.python);
    }
}

/// The lines of each function at the script's top level.
fn functions(source: &str) -> BTreeMap<&str, RangeInclusive<u32>> {
    let mut found: BTreeMap<&str, RangeInclusive<u32>> = BTreeMap::new();
    let mut current: Option<&str> = None;
    for (number, line) in (1..).zip(source.lines()) {
        if let Some(name) = line.strip_prefix("def ").and_then(|rest| rest.split('(').next()) {
            current = Some(name);
            found.insert(name, number..=number);
        } else if !line.is_empty() && !line.starts_with(' ') {
            current = None;
        } else if let Some(range) = current.and_then(|name| found.get_mut(name)) {
            *range = *range.start()..=number;
        }
    }
    found
}

/// Nearly all samples have their Python frames and reach their root; those without are counted.
#[test]
fn what_is_missing_is_counted() {
    for run in &*RUNS {
        let total: u64 = run.stacks.iter().map(|(.., count)| count).sum();
        let sum = |keep: &dyn Fn(&[Frame], StackEnd) -> bool| -> u64 {
            run.stacks.iter().filter(|(frames, end, _)| keep(frames, *end)).map(|(.., count)| count).sum()
        };
        let named = sum(&|frames, _| frames.iter().any(|frame| frame.0 == FrameKind::Cpython));
        let rooted = sum(&|frames, end| frames.iter().any(|frame| frame.0 == FrameKind::Cpython) && end == StackEnd::Root);
        eprintln!("{}: {named} of {total} samples have Python frames, {rooted} of them reach the root", run.python);
        assert!(named * 100 >= total * 85, "{}: only {named} of {total} samples have Python frames", run.python);
        assert!(rooted * 100 >= named * 98, "{}: only {rooted} of {named} stacks reach the root", run.python);
        // What runs before the interpreter does, and after it, has no frames of it and lacks none.
        assert!(run.caveats <= total - named, "{}: {} counted, {} without", run.python, run.caveats, total - named);
        assert!(run.caveats > 0 || named + 3 >= total, "{}: nothing is counted of {}", run.python, total - named);
    }
}
