//! The same samples, unwound by `perf script` and by us, frame by frame.
//!
//! `perf record --call-graph dwarf` writes what the kernel gives us too: registers and a copy of the stack. Its records go,
//! in our layout, through the very process table and unwinder of the agent, and the addresses of user space are compared with those
//! that `perf script` prints. A test only: none of this is in the agent.

mod perf_data;
mod script;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use flamekeeper_profile::{Avma, StackEnd, StopReason};

use crate::process::maps::{Backing, Maps};
use crate::process::table::ProcessTable;
use crate::record::{Record, Sample, parse};
use crate::unwind::pool::ObjectPool;
use crate::unwind::{Unwinder, UserFrame};

/// Seconds that are recorded.
const SECONDS: &str = "5";
/// The first functions of a program or thread, by their names in all the C libraries.
const ROOTS: [&str; 6] = ["_start", "clone", "clone3", "__clone", "__clone3", "__clone_internal"];

/// A stack of ours.
struct Ours {
    process: String,
    addresses: Vec<u64>,
    end: StackEnd,
}

/// The process table and the unwinder, fed from a file.
struct Replay {
    processes: ProcessTable,
    unwinder: Unwinder,
    frames: Vec<UserFrame>,
    /// Whether stacks may be taken from what was unwound before.
    remembers: bool,
    /// Frames that were.
    remembered: usize,
    frames_in_all: usize,
}

impl Replay {
    fn new(remembers: bool) -> Self {
        let unwinder = Unwinder::new(ObjectPool::new(None, std::sync::Arc::default()));
        Self { processes: ProcessTable::new(), unwinder, frames: Vec::new(), remembers, remembered: 0, frames_in_all: 0 }
    }

    fn unwind(&mut self, sample: &Sample<'_>) -> StackEnd {
        if !self.remembers {
            self.unwinder.forget_stacks();
        }
        let process = self.processes.of_sample(sample.task.pid, sample.time);
        let end = self.unwinder.unwind(process, sample, &mut self.frames);
        self.remembered += self.unwinder.remembered_frames();
        self.frames_in_all += self.frames.len();
        end
    }

    /// Unwinds the sample of a record after some words of its stack were exchanged for others of it.
    fn unwind_mixed(&mut self, bytes: &[u8], seed: u64) -> Option<(StackEnd, Vec<UserFrame>)> {
        let Record::Sample(sample) = parse(bytes).unwrap() else { return None };
        let mut random = seed | 1;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below.max(1)
        };
        let mut stack = sample.stack.to_vec();
        // The words near the leaf are those that steps read.
        let words = (stack.len() / 8).min(256);
        for _ in 0..next(4) {
            let (from, to) = (next(words) * 8, next(words) * 8);
            if let Some(word) = stack.get(from..from + 8).map(<[u8]>::to_vec) {
                stack[to..to + 8].copy_from_slice(&word);
            }
        }
        let sample = Sample { stack: &stack, ..sample };
        Some((self.unwind(&sample), self.frames.clone()))
    }

    /// Applies a record as the sampler does; a sample's thread, time and stack come back.
    fn apply(&mut self, bytes: &[u8]) -> Option<((u32, u64), Ours)> {
        match parse(bytes).unwrap() {
            Record::Sample(sample) => {
                let process = self.processes.of_sample(sample.task.pid, sample.time);
                if process.kernel_thread || sample.regs.is_none() {
                    return None;
                }
                let end = self.unwind(&sample);
                let process = self.processes.of_sample(sample.task.pid, sample.time);
                let process_maps = process.maps.clone();
                let process = process.comm.to_string();
                let addresses = self.frames.iter().map(|frame| in_file(&process_maps, frame.address)).collect();
                return Some(((sample.task.tid, sample.time), Ours { process, addresses, end }));
            }
            Record::Mmap(mmap) => {
                self.processes.mmap(&mmap);
            }
            Record::Comm { task, exec, name } if task.pid == task.tid => self.processes.comm(task.pid, name, exec),
            Record::Fork { child, parent } => self.processes.fork(child.pid, parent.pid),
            Record::Exit { task } => self.processes.exit(task.pid, task.tid),
            _ => {}
        }
        None
    }
}

/// An address as perf prints it: of a file's code, as the offset in the file.
fn in_file(maps: &Maps, address: Avma) -> u64 {
    match maps.get(address) {
        Some(mapping) if !matches!(mapping.backing, Backing::Anonymous) => address.0 - mapping.start.0 + mapping.offset.0,
        _ => address.0,
    }
}

/// How the two stacks of a sample differ, of those where perf's ends at a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Not at all.
    None,
    /// perf takes one off the address that a signal interrupted, as if it were one of a call.
    InterruptedAddress,
    /// Both reach the root, and we see frames of the dynamic linker's own start that perf leaves out: `dl_main` and
    /// `_dl_start`, without which `_dl_sysdep_start` cannot have been called.
    LoaderStart,
    /// Both reach the root, and we see other frames that perf leaves out.
    MoreFrames,
    /// Both reach a root, over other frames.
    OtherFrames,
    /// Ours ends early.
    Truncated(StopReason),
}

fn compare(ours: &Ours, perf: &script::Sample) -> Difference {
    let theirs: Vec<u64> = perf.frames.iter().map(|frame| frame.address).collect();
    if ours.addresses == theirs {
        return Difference::None;
    }
    if let StackEnd::Truncated(reason) = ours.end {
        return Difference::Truncated(reason);
    }
    let signal = perf.frames.iter().any(|frame| frame.function.starts_with("__restore_rt"));
    let close = ours.addresses.iter().zip(&theirs).all(|(a, b)| a.abs_diff(*b) <= 1);
    if signal && close && ours.addresses.len() == theirs.len() {
        return Difference::InterruptedAddress;
    }
    let mut rest = ours.addresses.iter();
    let within = theirs.iter().all(|address| rest.any(|other| other == address));
    let loader = perf.frames.last().is_some_and(|frame| frame.function == "_start" && frame.object.contains("/ld-linux"));
    match (within, loader) {
        (true, true) => Difference::LoaderStart,
        (true, false) => Difference::MoreFrames,
        (false, _) => Difference::OtherFrames,
    }
}

/// A program that runs until this is dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn workload(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testing/workloads").join(name)
}

fn build(folder: &Path, tool: &str, arguments: &[&str], source: &str, name: &str) -> PathBuf {
    let program = folder.join(name);
    let built = Command::new(tool).args(arguments).arg(workload(source)).arg("-o").arg(&program).output();
    let built = built.unwrap_or_else(|error| panic!("this test needs {tool}: {error}"));
    assert!(built.status.success(), "{source}: {}", String::from_utf8_lossy(&built.stderr));
    program
}

/// The workloads: C++ and Rust with two threads, Python, signals, frames that only an expression finds, and deep stacks.
fn workloads(folder: &Path) -> Vec<Running> {
    let flags = ["-O2", "-g", "-fomit-frame-pointer", "-pthread"];
    let cpp = build(folder, "g++", &flags, "burn.cpp", "replay-cpp");
    let rust = build(folder, "rustc", &["--edition", "2024", "-C", "opt-level=2", "-C", "debuginfo=1"], "burn.rs", "replay-rust");
    let native = build(folder, "gcc", &flags, "native.c", "replay-c");
    let deep = build(folder, "g++", &flags, "deep.cpp", "replay-deep");
    let mut python = Command::new("/usr/bin/python3");
    vec![
        Running::start(Command::new(cpp).args(["600", "2"])),
        Running::start(Command::new(rust).arg("600")),
        Running::start(python.arg(workload("burn.py")).arg("600")),
        Running::start(Command::new(&native).args(["600", "signal"])),
        Running::start(Command::new(&native).args(["600", "realign"])),
        Running::start(Command::new(&deep).args(["600", "120"])),
    ]
}

fn perf(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("perf").args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("this test needs perf (Debian's linux-perf): {error}"));
    assert!(output.status.success(), "perf {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Records the workloads, and answers the file's records and perf's stacks. Not all of the host: one foreign program with a
/// build id of more than 20 bytes is enough to end this perf (its `util/build-id.c` checks what it has already overrun).
fn record(folder: &Path) -> (Vec<perf_data::Transcoded>, String) {
    let running = workloads(folder);
    let pids = running.iter().map(|running| running.0.id().to_string()).collect::<Vec<_>>().join(",");
    let event = ["record", "-q", "-F", "199", "-e", "cpu-clock", "--call-graph", "dwarf,65528", "--no-buildid", "--no-buildid-cache"];
    perf(folder, &[&event[..], &["-p", &pids, "-o", "data", "--", "sleep", SECONDS]].concat());
    drop(running);
    let print = ["script", "-i", "data", "--ns", "--no-inline", "--max-stack", "4096", "-F", "comm,pid,tid,time,ip,sym,dso"];
    let text = String::from_utf8_lossy(&perf(folder, &print)).into_owned();
    (perf_data::read(&std::fs::read(folder.join("data")).unwrap()).unwrap(), text)
}

/// What a comparison counts.
#[derive(Default)]
struct Tally {
    /// Samples with a user part.
    samples: u64,
    /// Of these, the ones that perf unwinds to a root, by the thread's name.
    rooted: BTreeMap<String, u64>,
    /// Samples that we unwind to a root and perf does not.
    only_ours: u64,
    /// How they differ, with an example of each.
    differences: BTreeMap<Difference, (u64, String)>,
    /// How ours end, by program.
    ends: BTreeMap<(String, &'static str), u64>,
}

/// Names of the workloads' threads.
const WORKLOADS: [&str; 5] = ["replay-cpp", "replay-rust", "python3", "replay-c", "replay-deep"];

impl Tally {
    fn add(&mut self, ours: &Ours, perf: Option<&script::Sample>) {
        self.samples += 1;
        *self.ends.entry((ours.process.clone(), ours.end.as_str())).or_default() += 1;
        let Some(perf) = perf.filter(|perf| !perf.frames.is_empty()) else { return };
        if !perf.frames.last().is_some_and(|frame| ROOTS.contains(&frame.function.as_str())) {
            self.only_ours += u64::from(ours.end == StackEnd::Root);
            return;
        }
        let difference = compare(ours, perf);
        *self.rooted.entry(perf.comm.clone()).or_default() += 1;
        let example = || format!("{}: {:x?} {:?}\n      perf: {:x?}", perf.comm, ours.addresses, ours.end, perf.frames);
        self.differences.entry(difference).or_insert_with(|| (0, example())).0 += 1;
    }

    fn of(&self, difference: Difference) -> u64 {
        self.differences.get(&difference).map_or(0, |(count, _)| *count)
    }

    fn report(&self) -> String {
        let Self { samples, rooted, only_ours, ends, .. } = self;
        let all: u64 = rooted.values().sum();
        let mut report = format!("{samples} samples of user space; perf reaches the root of {all} ({rooted:?}), we of {only_ours} more\n");
        report += &format!("  our ends: {ends:?}\n");
        for (difference, (count, example)) in &self.differences {
            let example = if *difference == Difference::None { "" } else { example };
            report += &format!("  {difference:?}: {count}\n      {example}\n");
        }
        report
    }
}

/// Not run by itself: what [`frames_equal_those_of_perf`] runs. In a process of its own, since the programs that it starts
/// would inherit, for a moment, the locks that other tests of this one hold on their files.
#[test]
#[ignore = "run by another test, in a process of its own"]
fn helper_compare_with_perf() {
    let folder = tempfile::tempdir().unwrap();
    let (records, text) = record(folder.path());
    let theirs = script::parse(&text);
    let (mut replay, mut tally) = (Replay::new(true), Tally::default());
    // Unwinds everything anew.
    let mut anew = Replay::new(false);
    for (seed, record) in (0..).zip(&records) {
        let (found, expected) = (replay.apply(&record.bytes), anew.apply(&record.bytes));
        if let (Some((key, ours)), Some((_, expected))) = (&found, &expected) {
            assert_eq!((&ours.addresses, ours.end), (&expected.addresses, expected.end));
            assert_eq!(replay.frames, anew.frames);
            tally.add(ours, theirs.get(key));
            assert_eq!(replay.unwind_mixed(&record.bytes, seed), anew.unwind_mixed(&record.bytes, seed), "sample {seed}, other words");
        }
        assert_eq!(found.is_some(), expected.is_some());
    }
    println!("{} of {} frames were known from the thread's stack before", replay.remembered, replay.frames_in_all);
    assert!(replay.remembered * 4 > replay.frames_in_all && anew.remembered == 0);
    let report = tally.report();
    println!("{report}");
    for workload in WORKLOADS {
        assert!(tally.rooted.get(workload).is_some_and(|count| *count >= 5), "too few samples of {workload}");
    }
    let all: u64 = tally.rooted.values().sum();
    // The interrupted instruction is no call: there perf, not we, is off by one.
    let equal = tally.of(Difference::None) + tally.of(Difference::InterruptedAddress);
    assert!(all >= 60 && equal * 1000 >= all * 995, "{equal} of {all} are equal");
}

/// On at least 99.5 % of the samples that perf unwinds to a root, our frames are the same, address by address.
#[test]
fn frames_equal_those_of_perf() {
    let helper = ["unwind::replay::helper_compare_with_perf", "--exact", "--ignored", "--nocapture"];
    let output = Command::new(std::env::current_exe().unwrap()).args(helper).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success() && said.contains("samples of user space"), "{said}");
}
