//! Heap profiles that programs serve themselves: Go's and jemalloc's, fetched by the real agent, asked for at the far end.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flamekeeper_testing::host::Host;
use flamekeeper_testing::programs::{Running, alone, free_address, wait_for};
use flamekeeper_testing::{metadata, tools};

use super::{JEMALLOC, compile, flamegraph, run, text};

/// What the programs keep, in bytes.
pub(super) const GO_KEEPS: u64 = 128 << 20;
const JEMALLOC_KEEPS: u64 = 256 * (96 << 10);

/// The last counts of a program that says `kept BYTES dropped BYTES`.
pub(super) fn dropped(program: &Running) -> Option<(u64, u64)> {
    let output = program.output();
    let mut words = output.lines().rev().find(|line| line.starts_with("kept"))?.split(' ');
    Some((words.nth(1)?.parse().ok()?, words.nth(1)?.parse().ok()?))
}

/// Builds the Go program, whose name is `gate`.
pub(super) fn build_gate(folder: &Path) -> PathBuf {
    let go = folder.join("gate");
    let source = metadata::root().join("testing/workloads/heap.go");
    let built = run(Command::new(tools::require("go")).args(["build", "-o"]).arg(&go).arg(source));
    assert!(built.status.success(), "{}", text(&built.stderr));
    go
}

/// What each keeps is told truly, with names, files and lines; what was allocated counts once, however often it is scraped. Go's wants
/// a token. Of the Go program it is said that its heap is not sampled, but scraped.
#[test]
fn served_heaps_are_told() {
    let _alone = alone();
    let mut host = Host::with_collector("heap-scrape");
    let folder = host.scratch().path().to_owned();
    let (go, jemalloc) = (build_gate(&folder), compile(&folder, "heap-jemalloc.c", &["-g", JEMALLOC]));
    let (go_port, jemalloc_port) = (free_address().port().to_string(), free_address().port().to_string());
    let token = folder.join("token");
    std::fs::write(&token, "open-sesame\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = folder.join("agent.toml");
    let tables = format!(
        "[[scrape]]\nurl = \"http://127.0.0.1:{go_port}/debug/pprof/heap\"\nservice = \"gate\"\nversion = \"2.1\"\ninterval = \"1s\"\n\
        token_file = \"{}\"\nlabels = {{ team = \"pay\" }}\n[[scrape]]\nurl = \"http://127.0.0.1:{jemalloc_port}/heap\"\nservice = \"cache\"\ninterval = \"2s\"\n",
        token.display()
    );
    std::fs::write(&config, tables).unwrap();
    let go = Running::start("gate", Command::new(go).args([&go_port, "open-sesame"]).env("OTEL_SERVICE_NAME", "gate"));
    let mut jemalloc = Command::new(jemalloc);
    jemalloc.arg(&jemalloc_port).current_dir(&folder).env("OTEL_SERVICE_NAME", "cache");
    let _jemalloc = Running::start("cache", jemalloc.env("MALLOC_CONF", "prof:true,lg_prof_sample:15"));
    let mut agent = host.agent_command();
    agent.arg("--config").arg(&config).args(["--frequency-hz", "99", "--window", "2s", "--host-name", "test-host"]);
    host.agent = Some(Running::start("agent", &mut agent));

    let graph = wait_for("what Go keeps", Duration::from_secs(90), || {
        let (kept, _) = dropped(&go)?;
        let graph = flamegraph(&host, "inuse_space", "{service=\"gate\", version=\"2.1\", team=\"pay\", heap.source=\"pprof\"}");
        let remembered = graph.total_of(|name| name == "main.remember");
        // 128 blocks, sampled with a probability of 86 in 100.
        (kept == GO_KEEPS && remembered.abs_diff(GO_KEEPS) < GO_KEEPS / 6).then_some(graph)
    });
    let paths = graph.paths_to(|name| name == "main.remember");
    let (path, _) = &paths[0];
    let names: Vec<_> = path.iter().map(|node| node.name.as_str()).collect();
    assert!(names.ends_with(&["main.main", "main.remember"]), "{names:?}");
    let leaf = path.last().unwrap();
    assert!(leaf.file.ends_with("/heap.go") && leaf.line > 0 && leaf.kind == "go", "{leaf:?}");
    let (_, all) = dropped(&go).unwrap();
    let told = flamegraph(&host, "alloc_space", "{service=\"gate\"}").total_of(|name| name == "main.forget");
    eprintln!("main.forget: {told} bytes of at most {all} allocated");
    // Hundreds of samples of a third of the blocks; summing up what was since the beginning would be many times as much.
    assert!(told > all / 4 && told < all + all / 2, "{told} of {all}");

    let graph = wait_for("what jemalloc keeps, by name", Duration::from_secs(60), || {
        let graph = flamegraph(&host, "inuse_space", "{service=\"cache\"}");
        (graph.total_of(|name| name == "keep") > 0).then_some(graph)
    });
    let kept = graph.total_of(|name| name == "keep");
    assert!(kept.abs_diff(JEMALLOC_KEEPS) < JEMALLOC_KEEPS / 10, "{kept} of {JEMALLOC_KEEPS}");
    let node = graph.nodes.iter().find(|node| node.name == "keep").unwrap();
    assert!(node.file.ends_with("/heap-jemalloc.c") && node.line > 0, "{node:?}");

    let blind = wait_for("what is said of Go", Duration::from_secs(60), || {
        let answer = host.ask("/api/v1/leaks?service=gate&from=-10m");
        answer["blind"].as_array()?.iter().find(|blind| blind["reasons"][0]["reason"] == "go_heap").cloned()
    });
    assert_eq!((&blind["scraped"], &blind["sampled"]), (&true.into(), &false.into()), "{blind:#}");
}
