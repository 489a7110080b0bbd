//! The heap shim: programs run unharmed under it, and what it says of their heap is true.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "all of this file is tests"
)]

#[path = "heap/allocators.rs"]
mod allocators;
#[path = "heap/scrape.rs"]
mod scrape;
#[path = "heap/scrape_https.rs"]
mod scrape_https;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use flamekeeper_testing::flamegraph::Flamegraph;
use flamekeeper_testing::host::Host;
use flamekeeper_testing::http;
use flamekeeper_testing::programs::{Running, alone, binary, heap_shim as shim, wait_for};
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::{metadata, tools};

/// A malloc of another family.
const JEMALLOC: &str = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Compiles a C or C++ workload of this repository.
fn compile(folder: &Path, source: &str, arguments: &[&str]) -> PathBuf {
    compile_as(&folder.join(source.split('.').next().unwrap()), source, arguments)
}

fn compile_as(program: &Path, source: &str, arguments: &[&str]) -> PathBuf {
    let compiler = tools::require(if source.ends_with(".c") { "gcc" } else { "g++" });
    let source = metadata::root().join("testing/workloads").join(source);
    let compiled = run(Command::new(compiler).args(["-O2", "-pthread", "-o"]).arg(program).arg(source).args(arguments));
    assert!(compiled.status.success(), "{}", text(&compiled.stderr));
    program.to_owned()
}

/// The shim needs no library, and exports the allocator's functions and C++'s operators, and nothing else.
#[test]
fn the_shim_stands_alone() {
    let dynamic = text(&run(Command::new(tools::require("readelf")).args(["-W", "-d"]).arg(shim())).stdout);
    assert!(dynamic.contains("SONAME") && !dynamic.contains("(NEEDED)"), "{dynamic}");
    let symbols = text(&run(Command::new(tools::require("nm")).args(["-D", "--defined-only"]).arg(shim())).stdout);
    let (operators, exported): (Vec<&str>, Vec<&str>) =
        symbols.lines().filter_map(|line| line.split_whitespace().last()).partition(|name| name.starts_with("_Z"));
    assert_eq!(operators.len(), 20, "{operators:?}");
    assert!(
        operators.iter().all(|name| ["_Znwm", "_Znam", "_ZdlPv", "_ZdaPv"].iter().any(|begin| name.starts_with(begin))),
        "{operators:?}"
    );
    let mut expected =
        ["malloc", "calloc", "realloc", "reallocarray", "aligned_alloc", "posix_memalign", "memalign", "valloc", "pvalloc", "free"]
            .to_vec();
    expected.extend(["free_sized", "free_aligned_sized"]);
    expected.sort_unstable();
    assert_eq!(exported, expected);
}

/// Four threads and eight children allocate by every function and free all: each process has no sample of theirs in the end, every one
/// was freed, and no free was missed. With the C library's allocator, and with jemalloc behind the shim.
#[test]
fn every_free_is_seen() {
    let _alone = alone();
    let scratch = Scratch::new("heap-soak");
    let program = compile(scratch.path(), "heap-soak.c", &[]);
    let shim = shim().display().to_string();
    soak(&program, &shim);
    soak(&program, &format!("{shim}:{JEMALLOC}"));
}

fn soak(program: &Path, preload: &str) {
    // The C library keeps the stacks of ended threads for later ones, and each keeps the vector that it allocated for thread-local
    // storage; without that cache it is freed with the thread.
    let soak = run(Command::new(program)
        .env("LD_PRELOAD", preload)
        .env("FLAMEKEEPER_HEAP_INTERVAL", "16384")
        .env("GLIBC_TUNABLES", "glibc.pthread.stack_cache_size=0"));
    let output = text(&soak.stdout);
    assert!(soak.status.success() && output.contains("children 0"), "{output}{}", text(&soak.stderr));
    let tables: Vec<Vec<u64>> = output
        .lines()
        .filter(|line| line.starts_with("taken"))
        .map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect())
        .collect();
    assert_eq!(tables.len(), 9, "{output}");
    for table in tables {
        let [taken, live, freed, full, replaced, entries] = table[..] else { panic!("{output}") };
        assert!(taken > 100, "{output}");
        assert_eq!((live, freed, full, replaced, entries), (0, taken, 0, 0, 0), "{output}");
    }
}

/// Blocks cross `RTLD_DEEPBIND` both ways while signals come.
#[test]
fn blocks_cross_deepbind() {
    let scratch = Scratch::new("heap-deepbind");
    let library = compile(scratch.path(), "heap-deepbind.c", &["-shared", "-fPIC"]);
    let program = compile(scratch.path(), "heap-deepbind-main.c", &["-ldl"]);
    let output = run(Command::new(program).arg(library).env("LD_PRELOAD", shim()).env("FLAMEKEEPER_HEAP_INTERVAL", "1024"));
    assert_eq!((text(&output.stdout).trim(), output.status.code()), ("fine", Some(0)), "{}", text(&output.stderr));
}

/// Real programs say the same with the shim and without, with samples so dense that its slow ways are walked all the time.
#[test]
fn real_programs_run_unharmed() {
    let scratch = Scratch::new("heap-programs");
    let folder = scratch.path();
    std::fs::write(folder.join("one.c"), "#include <stdio.h>\nint main(void) { return puts(\"compiled\") < 0; }\n").unwrap();
    let python = "import multiprocessing as m, json, threading\n\
        def f(n): return len(json.dumps([{'k%d' % i: 'v' * (i % 300)} for i in range(n)]))\n\
        if __name__ == '__main__':\n    t = threading.Thread(target=f, args=(5000,)); t.start(); t.join()\n    \
        for k in ('fork', 'spawn'):\n        with m.get_context(k).Pool(2) as p: print(p.map(f, [2000, 3000, 4000]))\n";
    std::fs::write(folder.join("pool.py"), python).unwrap();
    let script =
        "x=; for i in $(seq 300); do x=$x$(echo $i | tr 1 2); done; echo ${#x}; (echo sub | cat) | rev; bash -c 'exec sh -c \"echo exec\"'";
    let sql = "create table t(a, b); with recursive n(i) as (select 1 union all select i + 1 from n where i < 50000) \
        insert into t select i, hex(i * 7) from n; create index x on t(b); select count(*), sum(length(b)) from t;";
    let node = "let o = []; for (let i = 0; i < 2e5; i++) o.push({i, s: 'x' + i}); console.log(JSON.stringify(o).length); \
        new (require('worker_threads').Worker)('console.log(Buffer.alloc(1e7, 3).length)', {eval: true})";
    let root = metadata::root();
    let root = root.to_str().unwrap();
    let cases: [(&str, &[&str]); 7] = [
        ("bash", &["-c", script]),
        ("git", &["-c", "safe.directory=*", "-C", root, "log", "--stat", "-n", "20"]),
        (
            "perl",
            &[
                "-e",
                "my %h; $h{$_ % 7919} .= \"x$_\" for 1..300000; my $n = 0; $n += length for values %h; print \"$n\\n\"; print `echo forked`",
            ],
        ),
        ("python3", &["pool.py"]),
        ("sqlite3", &[":memory:", sql]),
        ("node", &["-e", node]),
        ("gcc", &["-O2", "-g", "one.c", "-o", "one", "-v", "-save-temps=obj"]),
    ];
    for (tool, arguments) in cases {
        let program = || {
            let mut command = Command::new(tools::require(tool));
            command.args(arguments).current_dir(folder).env("LC_ALL", "C");
            command
        };
        let plain = run(&mut program());
        let under = run(program().env("LD_PRELOAD", shim()).env("FLAMEKEEPER_HEAP_INTERVAL", "2048"));
        assert_eq!((under.status, text(&under.stdout)), (plain.status, text(&plain.stdout)), "{tool}: {}", text(&under.stderr));
        assert!(plain.status.success(), "{tool}: {}", text(&plain.stderr));
    }
    assert_eq!(text(&run(&mut Command::new(folder.join("one"))).stdout), "compiled\n");
}

/// A compiler with an allocator of its own, dynamic libraries and many threads builds a crate under the shim.
#[test]
fn cargo_checks_a_crate_under_it() {
    let scratch = Scratch::new("heap-cargo");
    std::fs::create_dir(scratch.join("src")).unwrap();
    std::fs::write(scratch.join("Cargo.toml"), "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n")
        .unwrap();
    std::fs::write(scratch.join("src/lib.rs"), "//! Tiny.\n/// One.\npub fn one() -> Vec<String> { vec![format!(\"{:?}\", Some(1))] }\n")
        .unwrap();
    let mut check = Command::new(env!("CARGO"));
    check.args(["check", "--offline", "--quiet"]).current_dir(scratch.path()).env("CARGO_TARGET_DIR", scratch.join("target"));
    let output = run(check.env("LD_PRELOAD", shim()).env("FLAMEKEEPER_HEAP_INTERVAL", "4096"));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Where files may not be as large as the table, there is no table, and the program does not notice.
#[test]
fn limits_are_kept() {
    let script = "ulimit -f 4; python3 -c 'x = [bytes(1000) for _ in range(20000)]; print(len(x), \"flamekeeper-heap\" in open(\"/proc/self/maps\").read())'";
    let output = run(Command::new(tools::require("bash")).args(["-c", script]).env("LD_PRELOAD", shim()));
    assert_eq!(text(&output.stdout), "20000 False\n", "{}", text(&output.stderr));
}

/// A server with jemalloc, behind the shim: 20,000 keys, a snapshot by a forked child, and an end in order.
#[test]
fn redis_runs_unharmed() {
    let scratch = Scratch::new("heap-redis");
    _ = tools::require("redis-server");
    let script = "redis-server --port 0 --unixsocket $PWD/s --dir $PWD --daemonize no >log & \
        until redis-cli -s s ping 2>/dev/null | grep -q PONG; do sleep 0.1; done; \
        redis-cli -s s eval 'for i=1,20000 do redis.call(\"set\",\"key\"..i,string.rep(\"x\",i%3000)) end return redis.call(\"dbsize\")' 0; \
        redis-cli -s s bgsave; until [ $(redis-cli -s s lastsave) -gt 0 ] && [ -s dump.rdb ]; do sleep 0.1; done; \
        grep -c memfd:flamekeeper-heap /proc/$!/maps; redis-cli -s s info memory | grep -c mem_allocator:jemalloc; \
        redis-cli -s s shutdown nosave; wait $!; echo ended $?";
    let mut command = Command::new(tools::require("bash"));
    command.args(["-c", script]).current_dir(scratch.path());
    let output = run(command.env("LD_PRELOAD", shim()).env("FLAMEKEEPER_HEAP_INTERVAL", "2048"));
    assert_eq!(text(&output.stdout), "20000\nBackground saving started\n1\n1\nended 0\n", "{}", text(&output.stderr));
}

/// The flamegraph of a type for the heap workload, over a time that ends now.
fn flamegraph(host: &Host, profile_type: &str, query: &str) -> Flamegraph {
    let query = http::encode(query);
    Flamegraph::read(&host.ask(&format!("/api/v1/flamegraph?type={profile_type}&query={query}&from=-10m&min_share=0"))).unwrap()
}

/// The relative standard error of the estimate of `bytes` in blocks of `size`, sampled at 512 KiB.
fn relative_error(bytes: u64, size: u64) -> f64 {
    let probability = 1.0 - (-(size as f64) / f64::from(1 << 19)).exp();
    ((1.0 - probability) / probability / (bytes / size) as f64).sqrt()
}

/// What is live at the end of the heap workload at each of its sites, in bytes, as heaptrack tells it.
fn heaptrack(host: &Host, program: &Path) -> Vec<(&'static str, u64)> {
    let file = host.scratch().join("heaptrack");
    let recorded = run(Command::new(tools::require("heaptrack")).arg("-o").arg(&file).arg(program).args(["1", "end"]));
    assert!(recorded.status.success(), "{}", text(&recorded.stderr));
    let print = ["-a", "0", "-T", "0", "-p", "0", "-l", "1", "-f"];
    let printed = text(&run(Command::new(tools::require("heaptrack_print")).args(print).arg(file.with_extension("zst"))).stdout);
    let lines: Vec<&str> = printed.lines().collect();
    let of = |site: &'static str| {
        let pair = lines.windows(2).find(|pair| pair[1].trim() == site && pair[0].ends_with("calls from:"));
        let amount = pair.and_then(|pair| pair[0].split_once("M leaked over")).and_then(|(amount, _)| amount.parse::<f64>().ok());
        (site, (amount.unwrap_or_else(|| panic!("no {site} in {printed}")) * 1e6).round() as u64)
    };
    ["leak_site", "cache_site", "sawtooth_site"].map(of).into()
}

/// What each site of the heap workload has allocated, and what of it is live, in bytes, by its own count.
type Counts = Vec<(String, u64, u64)>;

/// The counts, when it has allocated all.
fn counts(workload: &mut Running, at_most: Duration) -> Counts {
    workload.wait_for_line("end", at_most);
    let output = workload.output();
    let count = |line: &str| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    let counts: Counts = output.lines().filter_map(count).collect();
    assert_eq!(counts.len(), 3, "{output}");
    counts
}

/// Waits until nearly all that was allocated has come, with names: these come with the symbols, and the last windows with the next batches.
fn wait_for_all(host: &Host, query: &str, counts: &Counts) {
    let all: u64 = counts.iter().map(|(_, allocated, _)| allocated).sum();
    wait_for("all that was allocated, with names", Duration::from_secs(60), || {
        let graph = flamegraph(host, "alloc_space", query);
        let sites: u64 = counts.iter().map(|(site, ..)| graph.total_of(|function| function.starts_with(site.as_str()))).sum();
        (sites as f64 > 0.9 * all as f64).then_some(())
    });
}

/// Each site has what the program says, within the sampling error, and stacks reach `main`.
fn check_sites(host: &Host, (profile_type, query): (&str, &str), counts: &Counts) {
    let graph = flamegraph(host, profile_type, query);
    let main = graph.total_of(|function| function == "main");
    assert!(main as f64 > 0.99 * graph.total() as f64, "{profile_type} of {query}: {main} of {} bytes reach main", graph.total());
    for ((name, allocated, live), size) in counts.iter().zip([20_000, 10_000, 30_000]) {
        let bytes = if profile_type == "alloc_space" { *allocated } else { *live };
        let (found, known) = (graph.total_of(|function| function.starts_with(name.as_str())) as f64, bytes as f64);
        let (off, sigma) = (found / known - 1.0, relative_error(bytes, size));
        eprintln!(
            "{query} {profile_type} {name}: {found} bytes, the program says {known}: {:+.1} %, {:.1} sigma",
            off * 100.0,
            off / sigma
        );
        assert!(off.abs() < 4.5 * sigma, "{profile_type} of {name} of {query}");
        // The error that is told with it is that one, as far as it can be known from the samples themselves; it is greater where the interval was
        // lengthened for a while, since a program that was held up makes up for it.
        let told = error_of(host, (profile_type, query), name) / found;
        assert!((0.7..2.5).contains(&(told / sigma)), "{profile_type} of {name} of {query}: error {told}, not {sigma}");
        // Blocks of one size: as many as the bytes say, as exactly.
        let objects = profile_type.replace("space", "objects");
        let blocks = flamegraph(host, &objects, query).total_of(|function| function.starts_with(name.as_str())) as f64;
        let told = error_of(host, (&objects, query), name) / blocks;
        assert!((blocks * size as f64 / known - 1.0).abs() < 4.5 * sigma, "{objects} of {name} of {query}: {blocks}");
        assert!((0.7..2.5).contains(&(told / sigma)), "{objects} of {name} of {query}: error {told}, not {sigma}");
    }
}

/// The standard error of a function's total, in bytes.
fn error_of(host: &Host, (profile_type, query): (&str, &str), name: &str) -> f64 {
    let answer = host.ask(&format!("/api/v1/top?type={profile_type}&query={}&from=-10m&limit=0", http::encode(query)));
    let functions = answer["functions"].as_array().unwrap();
    let function = functions.iter().find(|function| function["name"].as_str().unwrap().starts_with(name));
    function.unwrap_or_else(|| panic!("no {name}: {answer:#}"))["total_error"].as_f64().unwrap()
}

/// What is live, and what was allocated, at each site is what the program itself and heaptrack count, within the sampling error; stacks are
/// whole, without frame pointers. When the program is killed, its last heap is there.
#[test]
fn sites_are_told_truly() {
    let _alone = alone();
    let host = Host::start("heap-truth", 19);
    let program = compile_as(&host.scratch().join("heap-workload"), "heap.cpp", &["-g", "-fomit-frame-pointer"]);
    let mut workload = Running::start("heap-workload", Command::new(&program).arg("24").env("LD_PRELOAD", shim()));
    let heaptrack = heaptrack(&host, &program);
    let counts = counts(&mut workload, Duration::from_secs(120));
    let query = "{comm=\"heap-workload\"}";
    wait_for_all(&host, query, &counts);
    std::thread::sleep(Duration::from_secs(5));
    let check = |profile_type: &str| check_sites(&host, (profile_type, query), &counts);
    // What heaptrack, which sees every block, says of the same program: its megabytes have two digits behind the point.
    for ((name, _, live), (other, found)) in counts.iter().zip(&heaptrack) {
        assert!(name == other && live.abs_diff(*found) <= 10_000, "heaptrack says {found} of {name}, the program {live}");
    }
    check("alloc_space");
    check("inuse_space");
    let blocks = flamegraph(&host, "inuse_objects", query).total_of(|function| function.starts_with("leak_site")) as f64;
    assert!((blocks / (counts[0].2 / 20_000) as f64 - 1.0).abs() < 4.5 * relative_error(counts[0].2, 20_000), "{blocks}");
    workload.signal("KILL");
    std::thread::sleep(Duration::from_secs(8));
    check("inuse_space");
}

/// A statically linked Rust program with the sampling allocator: its leak is seen at its site, and `flamekeeper heap` reads and
/// changes how it samples.
#[test]
fn a_static_program_samples_itself() {
    let _alone = alone();
    let host = Host::start("heap-static", 19);
    let folder = host.scratch().join("crate");
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let root = metadata::root().canonicalize().unwrap();
    std::fs::copy(root.join("testing/workloads/heap-static.rs"), folder.join("src/main.rs")).unwrap();
    let manifest = format!(
        "[package]\nname = \"heap-static\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n[profile.release]\ndebug = 1\n\
         [dependencies]\nflamekeeper-heap = {{ path = {:?} }}\n",
        root.join("heap")
    );
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let triple = "x86_64-unknown-linux-gnu";
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--release", "--offline", "--quiet", "--target", triple]).current_dir(&folder);
    let built = run(build.env("RUSTFLAGS", "-C target-feature=+crt-static").env("CARGO_TARGET_DIR", folder.join("target")));
    assert!(built.status.success(), "{}", text(&built.stderr));
    let program = folder.join("target").join(triple).join("release/heap-static");
    let headers = text(&run(Command::new(tools::require("readelf")).args(["-W", "-l"]).arg(&program)).stdout);
    assert!(!headers.contains("INTERP"), "not static: {headers}");
    let mut workload = Running::start("heap-static", &mut Command::new(program));
    workload.wait_for_line("end", Duration::from_secs(60));
    let (known, query) = (6400 * 20_000, "{comm=\"heap-static\"}");
    let sigma = relative_error(known, 20_000);
    // The window in which the program still allocates tells of a part.
    wait_for("the whole leak, with its name, within its error", Duration::from_secs(60), || {
        let found = flamegraph(&host, "inuse_space", query).total_of(|function| function.contains("leak_site"));
        let off = found as f64 / known as f64 - 1.0;
        eprintln!("leak_site: {found} bytes of {known}: {:+.1} %, {:.1} sigma", off * 100.0, off / sigma);
        (off.abs() < 4.5 * sigma * 2f64.sqrt()).then_some(())
    });
    let pid = workload.pid().to_string();
    let heap = |arguments: &[&str]| {
        let output = run(Command::new(binary("flamekeeper")).arg("heap").args(arguments).arg(&pid));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let status = heap(&["status"]);
    assert!(status.contains("heap-static: samples every") && status.contains(" live") && !status.contains("not seen"), "{status}");
    let output = run(Command::new(binary("flamekeeper")).args(["heap", "interval", &pid, "0"]));
    assert_eq!(text(&output.stdout), format!("process {pid} no longer samples\n"), "{}", text(&output.stderr));
    assert!(heap(&["status"]).contains("switched off"));
}

/// In a program that runs with the library, sampling is switched off, on, and to another interval from outside.
#[test]
fn sampling_is_switched_at_run_time() {
    // Some 30 MB a second.
    let script = "import time\nprint('begun', flush=True)\nwhile True:\n    bytes(30000)\n    time.sleep(0.001)\n";
    let mut command = Command::new(tools::require("python3"));
    let mut program = Running::start("python3", command.args(["-c", script]).env("LD_PRELOAD", shim()));
    program.wait_for_line("begun", Duration::from_secs(30));
    let pid = program.pid().to_string();
    let heap = |arguments: &[&str]| {
        let output = run(Command::new(binary("flamekeeper")).arg("heap").args(arguments));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let taken = || {
        let status = heap(&["status", &pid]);
        let words: Vec<&str> = status.split_whitespace().collect();
        let place = words.iter().position(|word| word.starts_with("taken")).unwrap_or_else(|| panic!("{status}"));
        words[place - 1].parse::<u64>().unwrap()
    };
    let grows = |by: u64| {
        let before = taken();
        wait_for("samples", Duration::from_secs(60), || (taken() >= before + by).then_some(()));
    };
    heap(&["interval", &pid, "65536"]);
    grows(50);
    heap(&["interval", &pid, "0"]);
    assert!(heap(&["status", &pid]).contains("switched off"));
    let off = || {
        // What was taken is not told while it is off.
        heap(&["interval", &pid, "65536"]);
        let taken = taken();
        heap(&["interval", &pid, "0"]);
        taken
    };
    let before = off();
    std::thread::sleep(Duration::from_secs(5));
    let after = off();
    // As many as it may take while it is on are 100 a second.
    assert!(after < before + 200, "{before} samples, and {after} after five seconds without");
    heap(&["interval", &pid, "65536"]);
    grows(50);
}

/// `flamekeeper heap enable` writes a drop-in, once, that `disable` removes; a unit that preloads something else is left alone.
#[test]
fn units_are_enabled_and_disabled() {
    let scratch = Scratch::new("heap-units");
    let root = scratch.path();
    let heap = |arguments: &[&str]| run(Command::new(binary("flamekeeper")).arg("heap").args(arguments).arg("--root").arg(root));
    let missing = heap(&["enable", "api"]);
    assert!(!missing.status.success() && text(&missing.stderr).contains("install flamekeeper-heap"), "{}", text(&missing.stderr));
    std::fs::create_dir_all(root.join("usr/lib/flamekeeper")).unwrap();
    std::fs::copy(shim(), root.join("usr/lib/flamekeeper/libflamekeeper_heap.so")).unwrap();
    let enabled = heap(&["enable", "api", "--interval", "1048576"]);
    assert!(enabled.status.success() && text(&enabled.stdout).contains("restart api.service"), "{}", text(&enabled.stderr));
    let file = root.join("etc/systemd/system/api.service.d/60-flamekeeper-heap.conf");
    let content = std::fs::read_to_string(&file).unwrap();
    for line in [
        "[Service]",
        "Environment=\"LD_PRELOAD=/usr/lib/flamekeeper/libflamekeeper_heap.so\"",
        "Environment=\"FLAMEKEEPER_HEAP_INTERVAL=1048576\"",
    ] {
        assert!(content.lines().any(|found| found == line), "{content}");
    }
    assert!(heap(&["enable", "api.service"]).status.success());
    assert!(text(&heap(&["disable", "api"]).stdout).contains("removed"));
    assert!(!file.exists() && !file.parent().unwrap().exists());
    assert_eq!(text(&heap(&["disable", "api"]).stdout), "api.service is not enabled\n");
    std::fs::write(root.join("etc/systemd/system/db.service"), "[Service]\nEnvironment=LD_PRELOAD=/usr/lib/libother.so\n").unwrap();
    let refused = heap(&["enable", "db"]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("sets LD_PRELOAD already"), "{}", text(&refused.stderr));
    assert!(!heap(&["enable", "../../x"]).status.success());
}
