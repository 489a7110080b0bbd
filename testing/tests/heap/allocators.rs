//! Allocators other than the C library's behind the shim, with C++'s operators of their own: linked into the program's libraries, and as a
//! second entry of `LD_PRELOAD`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flamekeeper_testing::host::Host;
use flamekeeper_testing::programs::{Running, alone};
use flamekeeper_testing::scratch::Scratch;

use super::{JEMALLOC, check_sites, compile, compile_as, counts, run, shim, text, wait_for_all};

const TCMALLOC: &str = "/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4";
const MIMALLOC: &str = "/usr/lib/x86_64-linux-gnu/libmimalloc.so.2";

/// Runs the workload of all forms of `new` and `delete`; what its table counted while it worked.
fn run_forms(program: &Path, preload: &str, interval: u64, arguments: &[&str]) -> [u64; 4] {
    // As in `soak`.
    let mut command = Command::new(program);
    command.args(arguments).env("LD_PRELOAD", preload).env("FLAMEKEEPER_HEAP_INTERVAL", interval.to_string());
    let output = run(command.env("GLIBC_TUNABLES", "glibc.pthread.stack_cache_size=0"));
    let (said, program) = (text(&output.stdout), program.display());
    assert!(output.status.success(), "{program} with {preload}: {said}{}", text(&output.stderr));
    let numbers: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{program} with {preload}: {said}"))
}

/// Every block of every form is seen, once, and so is every free of one, whether the allocator's operators call `malloc` or not; memory that is
/// not there is told as without the shim. Also of a module with C++ in a program that has none.
#[test]
fn every_form_of_new_is_seen_once() {
    let _alone = alone();
    let scratch = Scratch::new("heap-new");
    let build = |name: &str, arguments: &[&str]| compile_as(&scratch.join(name), "heap-new.cpp", arguments);
    let shim = shim().display().to_string();
    let (plain, module) = (build("plain", &[]), build("module.so", &["-shared", "-fPIC"]));
    let loads = compile(scratch.path(), "heap-module.c", &[]);
    let module = module.to_str().unwrap();
    let mut cases = vec![(plain.clone(), shim.clone(), vec!["failing"]), (loads.clone(), shim.clone(), vec![module])];
    for (name, library, fails) in [("jemalloc", JEMALLOC, true), ("tcmalloc", TCMALLOC, true), ("mimalloc", MIMALLOC, false)] {
        let arguments = if fails { vec!["failing"] } else { Vec::new() };
        let both = format!("{shim}:{library}");
        cases.push((build(name, &[library]), shim.clone(), arguments.clone()));
        cases.push((plain.clone(), both.clone(), arguments));
        cases.push((loads.clone(), both, vec![module]));
    }
    for (program, preload, arguments) in cases {
        let [_, taken, live, freed] = run_forms(&program, &preload, 1 << 14, &arguments);
        // Some 36,000 but for the limit of a hundred a second, above which the interval doubles.
        assert!(
            (300..5000).contains(&taken) && live == 0 && freed == taken,
            "{program:?} {preload}: taken {taken}, live {live}, freed {freed}"
        );
        // So few that the rate is not limited: a Poisson number, whose mean is known.
        let interval = 1 << 23;
        let [bytes, taken, ..] = run_forms(&program, &preload, interval, &arguments);
        let mean = bytes as f64 / interval as f64;
        eprintln!("{} {preload}: {taken} samples, {mean:.0} expected", program.display());
        assert!((taken as f64 - mean).abs() < 5.0 * mean.sqrt() && taken > 0, "{program:?} {preload}: {taken} samples, {mean} expected");
    }
}

/// What is live, and what was allocated, at each site of a program with another allocator is what the program counts, and stacks name the
/// sites.
#[test]
fn sites_of_other_allocators_are_told_truly() {
    let _alone = alone();
    let host = Host::start("heap-allocators", 19);
    let shim = shim().display().to_string();
    // So slow that each takes less than a hundred samples a second, above which the interval is lengthened.
    let mut running = Vec::new();
    for (name, library) in [("jemalloc", JEMALLOC), ("tcmalloc", TCMALLOC), ("mimalloc", MIMALLOC)] {
        for (way, arguments, preload) in [("linked", &[library][..], shim.clone()), ("loaded", &[], format!("{shim}:{library}"))] {
            let comm = format!("{name}-{way}");
            let flags = [&["-g", "-fomit-frame-pointer"][..], arguments].concat();
            let program = compile_as(&host.scratch().join(&comm), "heap.cpp", &flags);
            let mut command = Command::new(program);
            running.push((Running::start(&comm, command.arg("20").env("LD_PRELOAD", preload)), format!("{{comm=\"{comm}\"}}")));
        }
    }
    let counted: Vec<_> = running.iter_mut().map(|(program, query)| (counts(program, Duration::from_secs(120)), &*query)).collect();
    counted.iter().for_each(|(counts, query)| wait_for_all(&host, query, counts));
    std::thread::sleep(Duration::from_secs(5));
    for (counts, query) in &counted {
        check_sites(&host, ("alloc_space", query), counts);
        check_sites(&host, ("inuse_space", query), counts);
    }
}
