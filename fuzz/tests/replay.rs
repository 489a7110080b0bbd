//! Every input of the corpus, and mutations of it, through every target. What libFuzzer once found stays found.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use flamekeeper_fuzz::{Mutator, TARGETS, find};

/// Mutations of a target's corpus; fewer on a machine that is too slow for them.
const MUTATIONS: usize = 20_000;
/// The longest that they may take.
const TIME: Duration = Duration::from_secs(3);
/// The longest that one input may take, on a machine with other work.
const HANG: Duration = Duration::from_secs(20);
/// Stack of a thread: names are demangled by recursion.
const STACK: usize = 64 << 20;
/// The largest mutation, in bytes.
const LARGEST: usize = 16 << 10;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

thread_local! {
    /// Whether the last panic of this thread is one that no release build has.
    static ONLY_A_CHECK: Cell<bool> = const { Cell::new(false) };
}

/// Arithmetic that wraps in a package of others panics in this build only: a release has no such checks, and neither has
/// what `./dev fuzz` builds. (gimli computes with the addresses of a file's `.eh_frame_hdr` in this way.) Ours must not wrap.
fn tell_apart_checks_of_others() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |info| {
            let overflow = info.payload_as_str().is_some_and(|text| text.starts_with("attempt to ") && text.ends_with(" with overflow"));
            let of_others = info.location().is_some_and(|location| location.file().contains("/registry/src/"));
            ONLY_A_CHECK.set(overflow && of_others);
            if !(overflow && of_others) {
                report(info);
            }
        }));
    });
}

/// Runs one input. One that fails is kept in a file, so that it can be looked at and joined to the corpus.
fn check(name: &str, run: fn(&[u8]), bytes: &[u8]) {
    let began = Instant::now();
    let ended = catch_unwind(AssertUnwindSafe(|| run(bytes)));
    if (ended.is_ok() || ONLY_A_CHECK.get()) && began.elapsed() < HANG {
        return;
    }
    let path = std::env::temp_dir().join(format!("flamekeeper-fuzz-{name}-{}", std::process::id()));
    fs::write(&path, bytes).unwrap();
    panic!("{name}: failed after {:?} on the {} bytes in {}", began.elapsed(), bytes.len(), path.display());
}

/// Runs all inputs on a thread with the stack that conversions have in a program, as good as that.
fn replay(name: &'static str) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || replay_here(name)).unwrap();
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

fn replay_here(name: &str) {
    tell_apart_checks_of_others();
    let target = find(name).unwrap();
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "fuzz/corpus/{name} is empty");
    corpus.iter().for_each(|bytes| check(name, target.run, bytes));
    let mut mutator = Mutator::new(0x5eed);
    let began = Instant::now();
    for _ in 0..MUTATIONS {
        let mut bytes = corpus[mutator.below(corpus.len())].clone();
        let other = mutator.below(corpus.len());
        mutator.mutate(&mut bytes, &corpus[other], LARGEST);
        check(name, target.run, &bytes);
        if began.elapsed() > TIME {
            break;
        }
    }
}

/// A test for each target, and a check that none was forgotten.
macro_rules! replays {
    ($($name:ident)*) => {
        $(
            /// The corpus of this target and mutations of it.
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        /// Every target has its test, and every folder of the corpus its target.
        #[test]
        fn every_target_is_replayed() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|target| target.name), tested);
            for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(find(&name).is_some(), "fuzz/corpus/{name} belongs to no target");
            }
        }
    };
}

replays! { perf_record perf_ring perf_map jitdump hotspot python unwind heap_table heap_profile process memory environ cgroup process_context object bundle dwarf mini_debug_info compressed links go otlp symbol_part clickhouse profile_file }
