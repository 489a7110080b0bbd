//! Native stacks, whole: programs built, linked and run in many ways, side by side under the real agent, and each test looks
//! at one of them through the collector's HTTP API.
//!
//! At least 99 % of the samples of each must end at a root, over the frames that its source says; where the frames lie out of
//! reach, all samples must say so by the reason.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use flamekeeper_testing::flamegraph::{Flamegraph, Node};
use flamekeeper_testing::host::Host;
use flamekeeper_testing::programs::wait_for;
use flamekeeper_testing::shares::assert_share;
use flamekeeper_testing::tools::require;
use flamekeeper_testing::workload::{Program, Running, Truth, compile};
use serde_json::Value;

/// Seconds of CPU time that each workload burns: some twenty share the CPUs.
const SECONDS: &str = "0.9";
/// Seconds of the clock for the programs that go by it.
const LONG: &str = "25";
const FREQUENCY: u32 = 199;
const FLAGS: &[&str] = &["-O2", "-g", "-fomit-frame-pointer", "-pthread"];

struct Service {
    truth: Option<Truth>,
    graph: Flamegraph,
}

struct Run {
    services: BTreeMap<&'static str, Service>,
    versions: Value,
    build_ids: BTreeMap<&'static str, String>,
}

static RUN: LazyLock<Run> = LazyLock::new(run);

/// The programs, built.
struct Programs {
    plain: PathBuf,
    without_build_id: PathBuf,
    musl: PathBuf,
    static_pie: PathBuf,
    lld: PathBuf,
    deep: PathBuf,
    libraries: [PathBuf; 2],
}

impl Programs {
    fn build(folder: &Path) -> Self {
        let c = |name: &str, more: &[&str]| compile("gcc", &[FLAGS, more].concat(), "native.c", &folder.join(name));
        let library = |name: &str, frame: &str| {
            let (name_is, frame_is) = (format!("-DNAME={name}"), format!("-DFRAME={frame}"));
            let flags = [FLAGS, &["-fPIC", "-shared", &name_is, &frame_is]].concat();
            compile("gcc", &flags, "library.c", &folder.join(format!("{name}.so")))
        };
        assert!(require("ld.lld").is_file());
        let lld = ["--edition", "2024", "-C", "opt-level=2", "-C", "debuginfo=1", "-C", "link-arg=-fuse-ld=lld"];
        Self {
            plain: c("native", &[]),
            without_build_id: c("native-without-id", &["-Wl,--build-id=none"]),
            static_pie: c("native-static-pie", &["-static-pie", "-DPLAIN_ONLY"]),
            musl: compile("musl-gcc", &["-O2", "-static", "-DPLAIN_ONLY"], "native.c", &folder.join("native-musl")),
            lld: compile("rustc", &lld, "burn.rs", &folder.join("by-lld")),
            deep: Program::Deep.build(folder, ""),
            libraries: [library("first", "64"), library("second", "960")],
        }
    }
}

fn start(name: &str, program: &Path, mode: &str) -> Running {
    start_for(SECONDS, name, program, mode)
}

fn start_for(seconds: &str, name: &str, program: &Path, mode: &str) -> Running {
    Running::start(Command::new(program).args([seconds, mode]).env("OTEL_SERVICE_NAME", name))
}

/// Runs a copy of a program on a file system that only its own mount namespace has, at `place` in there.
fn start_apart(name: &str, program: &Path, folder: &Path, then: &str) -> Running {
    std::fs::create_dir_all(folder).unwrap();
    let script = format!("mount -t tmpfs none {0} && cp {1} {0}/apart && exec {then} {SECONDS} plain", folder.display(), program.display());
    Running::start(Command::new(require("unshare")).args(["-m", "sh", "-c", &script]).env("OTEL_SERVICE_NAME", name))
}

/// Copies a file by another process: see the test of missing permissions in the agent.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

/// Starts a program and puts another in its place, or nothing.
fn start_replaced(name: &str, program: &Path, other: Option<&Path>, folder: &Path) -> Running {
    let (path, new) = (folder.join(format!("{name}-file")), folder.join("new"));
    copy(program, &path);
    // Longer: the agent starts meanwhile.
    let running = start_for("2", name, &path, "plain");
    match other {
        Some(other) => {
            copy(other, &new);
            std::fs::rename(new, path).unwrap();
        }
        None => std::fs::remove_file(path).unwrap(),
    }
    running
}

/// `Some` of the truth that a workload prints; the deep one prints none.
fn end(running: Running, name: &str) -> Option<Truth> {
    if name.starts_with("deep") {
        drop(running);
        None
    } else {
        Some(running.finish())
    }
}

fn run() -> Run {
    let mut host = Host::with_collector("native");
    let folder = host.scratch().path().to_owned();
    let programs = Programs::build(&folder);
    let Programs { plain, musl, .. } = &programs;
    // Before the agent, so that it never sees the first file under its name.
    let replaced = start_replaced("replaced", plain, Some(&programs.deep), &folder);
    let deleted = start_replaced("deleted", plain, None, &folder);
    host.start_agent(FREQUENCY);
    let (apart, root) = (folder.join("apart"), folder.join("root"));
    let [first, second] = &programs.libraries;
    let mut libraries = Command::new(plain);
    // Longer: its two shares are compared, which needs samples.
    libraries.args(["3", "library"]).args([first, second]).env("OTEL_SERVICE_NAME", "library");
    let mut running = vec![("replaced", replaced), ("deleted", deleted)];
    for mode in ["plain", "thread", "signal", "altstack", "switch", "context", "vdso", "realign"] {
        running.push((mode, start(mode, plain, mode)));
    }
    running.extend([
        ("library", Running::start(&mut libraries)),
        ("without-id", start("without-id", &programs.without_build_id, "plain")),
        ("musl", start("musl", musl, "plain")),
        ("musl-thread", start("musl-thread", musl, "thread")),
        ("musl-signal", start("musl-signal", musl, "signal")),
        ("static-pie", start("static-pie", &programs.static_pie, "thread")),
        ("by-lld", start_for(LONG, "by-lld", &programs.lld, "plain")),
        ("deep-whole", start_for("600", "deep-whole", &programs.deep, "120")),
        ("deep-cut", start_for("600", "deep-cut", &programs.deep, "1000")),
        ("namespace", start_apart("namespace", plain, &apart, &format!("{}/apart", apart.display()))),
        ("chroot", start_apart("chroot", musl, &root, &format!("chroot {} /apart", root.display()))),
    ]);
    finish(&mut host, running, &programs)
}

fn finish(host: &mut Host, running: Vec<(&'static str, Running)>, programs: &Programs) -> Run {
    // Those that end by themselves first: the deep ones run beside them until then.
    let (deep, ending): (Vec<_>, Vec<_>) = running.into_iter().partition(|(name, _)| name.starts_with("deep"));
    let truths: Vec<_> = ending.into_iter().chain(deep).map(|(name, running)| (name, end(running, name))).collect();
    for (name, _) in &truths {
        let function = match *name {
            "vdso" => "ask_the_time",
            "library" => "first_leaf",
            "by-lld" => "burn_hot",
            name if name.starts_with("deep") => "bottom",
            _ => "burn_leaf",
        };
        let named = || host.flamegraph(name).nodes.iter().any(|node| plain(&node.name) == function).then_some(());
        wait_for(&format!("the symbols of {name}"), Duration::from_secs(120), named);
    }
    let libc = || host.flamegraph("plain").nodes.iter().any(|node| node.name.starts_with("__libc_start_main")).then_some(());
    wait_for("the symbols of the C library", Duration::from_secs(120), libc);
    host.stop_agent();
    let services = truths.into_iter().map(|(name, truth)| (name, Service { truth, graph: host.flamegraph(name) })).collect();
    let build_ids = ["replaced", "deleted", "namespace"].map(|name| (name, build_id(&programs.plain))).into();
    Run { services, versions: host.ask("/api/v1/services?from=-1h"), build_ids }
}

fn build_id(program: &Path) -> String {
    let output = Command::new(require("readelf")).arg("-n").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split("Build ID: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

/// The run, made by whichever test asks first; the others wait.
fn the_run() -> &'static Run {
    static FIRST: Mutex<()> = Mutex::new(());
    let _one = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    &RUN
}

fn service(name: &str) -> &'static Service {
    &the_run().services[name]
}

/// A function's name without its arguments and without the crate.
fn plain(name: &str) -> &str {
    let name = name.split('(').next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name)
}

fn names(path: &[Node]) -> Vec<&str> {
    path.iter().map(|node| plain(&node.name)).collect()
}

fn holds(path: &[&str], expected: &[&str]) -> bool {
    let mut rest = path.iter();
    expected.iter().all(|name| rest.any(|other| other == name))
}

impl Service {
    /// How many samples end by which reason before their root, and how many there are.
    fn truncated(&self) -> (BTreeMap<String, u64>, u64) {
        let reasons = self.graph.completeness["truncated_reasons"].as_object();
        let count = |(name, count): (&String, &Value)| (name.clone(), count.as_u64().unwrap());
        (reasons.into_iter().flatten().map(count).collect(), self.graph.samples)
    }

    /// At least 99 % of the samples end at a root.
    #[track_caller]
    fn check_roots(&self) {
        let (reasons, samples) = self.truncated();
        let cut: u64 = reasons.values().sum();
        eprintln!("{samples} samples, {cut} without a root {reasons:?}");
        assert!(samples >= 15, "only {samples} samples");
        // Two may fall into the program's start or end.
        assert!(cut <= samples / 100 + 2, "{cut} of {samples} samples do not reach a root: {reasons:?}");
    }

    /// At least 99 % of the samples below `leaf` come over these frames, in this order, from the first to `leaf`; and frames
    /// in between are other functions.
    #[track_caller]
    fn check_path(&self, expected: &[&str], leaf: &str) {
        self.check_paths(expected, leaf, true);
    }

    /// As [`Self::check_path`], wherever the path begins.
    #[track_caller]
    fn check_path_inside(&self, expected: &[&str], leaf: &str) {
        self.check_paths(expected, leaf, false);
    }

    #[track_caller]
    fn check_paths(&self, expected: &[&str], leaf: &str, whole: bool) {
        let paths = self.graph.paths_to(|name| plain(name) == leaf);
        let all: u64 = paths.iter().map(|(_, total)| total).sum();
        let fits = |path: &[Node]| {
            let names = names(path);
            (!whole || names.first() == expected.first()) && holds(&names, expected)
        };
        let right: u64 = paths.iter().filter(|(path, _)| fits(path)).map(|(_, total)| total).sum();
        let shown: Vec<_> = paths.iter().take(5).map(|(path, total)| (names(path).join(";"), total)).collect();
        assert!(all > 0 && right * 100 >= all * 99, "{right} of {all} ns of {leaf} come over {expected:?}: {shown:#?}");
    }

    /// Nearly all samples end before a root, and by this reason; a few are taken where there is nothing special.
    #[track_caller]
    fn check_reason(&self, reason: &str) {
        let (reasons, samples) = self.truncated();
        eprintln!("{samples} samples, ends before a root: {reasons:?}");
        let so = reasons.get(reason).copied().unwrap_or(0);
        let others: u64 = reasons.values().sum::<u64>() - so;
        assert!(samples >= 15 && so * 10 >= samples * 9 && others <= 1, "{so} of {samples} end by {reason}: {reasons:?}");
    }
}

const PLAIN: &[&str] = &["_start", "main", "outer", "middle", "burn_leaf"];

/// By calls, without frame pointers.
#[test]
fn plain_calls() {
    service("plain").check_roots();
    service("plain").check_path(PLAIN, "burn_leaf");
}

/// Another thread's root is where it was cloned.
#[test]
fn threads() {
    for name in ["thread", "static-pie"] {
        service(name).check_roots();
        let paths = service(name).graph.paths_to(|name| plain(name) == "burn_leaf");
        let (path, _) = &paths[0];
        assert!(["clone3", "__clone3"].contains(&plain(&path[0].name)), "{name}: {:?}", names(path));
        assert!(holds(&names(path), &["start_thread", "thread_main", "outer", "middle", "burn_leaf"]), "{name}: {:?}", names(path));
    }
}

/// No build id: known by a hash, unwound and named all the same.
#[test]
fn without_build_id() {
    service("without-id").check_roots();
    service("without-id").check_path(PLAIN, "burn_leaf");
}

/// lld's segments do not begin at page boundaries.
#[test]
fn linked_by_lld() {
    let service = service("by-lld");
    service.check_roots();
    let paths = service.graph.paths_to(|name| name == "burn::burn_hot" || name == "by_lld::burn_hot");
    assert!(paths.iter().any(|(path, _)| holds(&names(path), &["_start", "main", "work", "burn_hot"])), "{:?}", names(&paths[0].0));
}

/// musl, static: its functions have no unwind information, and the stacks come to their roots.
#[test]
fn static_musl() {
    for name in ["musl", "chroot"] {
        service(name).check_roots();
        // Neither `_start` nor `__clone` has a size in its symbol, so they have no names.
        service(name).check_path_inside(&["libc_start_main_stage2", "main", "outer", "middle", "burn_leaf"], "burn_leaf");
    }
    service("musl-thread").check_roots();
    service("musl-thread").check_path_inside(&["start", "thread_main", "outer", "middle", "burn_leaf"], "burn_leaf");
    // Of the interrupted function only its room for a signal set lies between: what earlier calls left in there could be
    // return addresses as well, so the stack ends there and says so.
    service("musl-signal").check_reason("no_unwind_info");
    let expected = ["raise", "handler", "middle", "burn_leaf"];
    service("musl-signal").check_path_inside(&expected, "burn_leaf");
}

/// Through a signal's frame to the code that it interrupted, and on.
#[test]
fn signal_frames() {
    service("signal").check_roots();
    let expected = ["_start", "main", "interrupting", "interrupted", "handler", "middle", "burn_leaf"];
    service("signal").check_path(&expected, "burn_leaf");
}

/// A handler on a stack of its own: down to the interrupted function, and then the reason why no further.
#[test]
fn signal_on_an_alternate_stack() {
    let service = service("altstack");
    service.check_reason("other_stack");
    service.check_path(&["[truncated: other_stack]", "handler", "middle", "burn_leaf"], "burn_leaf");
}

/// A switch of stacks as rustc's: down to the switch, and then the reason.
#[test]
fn switched_stack() {
    let service = service("switch");
    service.check_reason("other_stack");
    service.check_path(&["[truncated: other_stack]", "on_stack", "outer", "middle", "burn_leaf"], "burn_leaf");
}

/// A context's first function is reached. What lies below it is an address that makecontext wrote there and nothing called;
/// the C library's unwind information does not say that it has no caller, so it is not claimed to be a root.
#[test]
fn made_context() {
    service("context").check_reason("no_unwind_info");
    service("context").check_path(&["[truncated: no_unwind_info]", "context_main", "outer", "middle", "burn_leaf"], "burn_leaf");
}

/// The vdso is an object like others.
#[test]
fn vdso() {
    let service = service("vdso");
    service.check_roots();
    let inside =
        service.graph.paths_to(|_| true).into_iter().filter(|(path, _)| path.last().is_some_and(|node| node.module.contains("vdso")));
    let (mut all, mut right) = (0, 0);
    for (path, total) in inside.filter(|(path, _)| !path[path.len() - 2].module.contains("vdso")) {
        all += total;
        right += if holds(&names(&path), &["_start", "main", "ask_the_time"]) { total } else { 0 };
    }
    assert!(all * 4 > service.graph.total() && right * 100 >= all * 99, "{right} of {all} of {} ns in the vdso", service.graph.total());
}

/// A frame that only an expression finds.
#[test]
fn realigned_stack() {
    service("realign").check_roots();
    service("realign").check_path(&["_start", "main", "realigning", "realigned", "middle", "burn_leaf"], "burn_leaf");
}

/// Stacks up to 64 KiB are whole; of deeper ones the leaf side is kept, and they say that the copy ended.
#[test]
fn deep_stacks() {
    service("deep-whole").check_roots();
    let paths = service("deep-whole").graph.paths_to(|name| plain(name) == "bottom");
    let descends = |path: &[Node]| path.iter().filter(|node| plain(&node.name) == "descend").count();
    assert_eq!((plain(&paths[0].0[0].name), descends(&paths[0].0)), ("_start", 121));
    let cut = service("deep-cut");
    let (reasons, samples) = cut.truncated();
    assert!(reasons.get("copy_exhausted").copied().unwrap_or(0) * 10 >= samples * 9, "{reasons:?} of {samples}");
    let paths = cut.graph.paths_to(|name| plain(name) == "bottom");
    let (path, total) = &paths[0];
    assert!(descends(path) > 120 && plain(&path[0].name) == "[truncated: copy_exhausted]", "{:?}", names(path));
    assert!(total * 2 > cut.graph.total(), "{total} of {} ns", cut.graph.total());
}

/// Two libraries that are loaded to the same place in turn are told apart: by time in each, and by whole stacks.
#[test]
fn libraries_come_and_go() {
    let service = service("library");
    let truth = &service.truth.as_ref().unwrap().0;
    assert!(truth["same"] > 0, "the second library never lay where the first had lain: {truth:?}");
    service.check_roots();
    let of = |function: &str| service.graph.total_of(|name| plain(name) == function);
    let (first, second) = (of("first_run"), of("second_run"));
    #[allow(clippy::cast_precision_loss)]
    let share = truth["first_run"] as f64 / (truth["first_run"] + truth["second_run"]) as f64;
    assert_share("first_run", (first, first + second), share, service.graph.samples);
    service.check_path(&["_start", "main", "first_run", "first_leaf"], "first_leaf");
    service.check_path(&["_start", "main", "second_run", "second_leaf"], "second_leaf");
}

/// A program whose file was replaced by another while it ran, or taken away, is unwound by, and known as, the one that runs.
#[test]
fn replaced_and_deleted_executables() {
    for name in ["replaced", "deleted"] {
        service(name).check_roots();
        service(name).check_path(PLAIN, "burn_leaf");
        check_version(name);
    }
}

/// A program on a file system that the agent's mount namespace does not have.
#[test]
fn other_mount_namespace() {
    service("namespace").check_roots();
    service("namespace").check_path(PLAIN, "burn_leaf");
    check_version("namespace");
}

/// A version is the build id of the program that ran.
fn check_version(name: &str) {
    let run = the_run();
    let services = run.versions["services"].as_array().unwrap();
    let service = services.iter().find(|service| service["service"] == name).unwrap();
    // The shell that starts a program in its namespace has the service's name, too, until then.
    let expected = Value::from(format!("gnu:{}", run.build_ids[name]));
    let versions = service["versions"].as_array().unwrap();
    assert!(versions.contains(&expected) && (name == "namespace" || versions.len() == 1), "{service}");
}

/// Over all workloads whose stacks can be whole: at least 99 % are.
#[test]
fn nearly_all_stacks_are_whole() {
    let whole = the_run().services.iter().filter(|(name, _)| !["altstack", "switch", "context", "deep-cut", "musl-signal"].contains(name));
    let (mut all, mut cut) = (0, 0);
    for (name, service) in whole {
        let (reasons, samples) = service.truncated();
        eprintln!("{name}: {samples} samples, {reasons:?}");
        all += samples;
        cut += reasons.values().sum::<u64>();
    }
    eprintln!("{cut} of {all} samples do not reach a root");
    assert!(all > 1000 && cut * 100 <= all, "{cut} of {all} samples do not reach a root");
}
