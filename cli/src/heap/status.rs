//! Which processes sample, and what of them cannot be seen.

use std::fmt::Write as _;
use std::fs;

use flamekeeper_agent::heap::{self, Facts, TableFacts};

/// The answer for these processes, or for all that sample or should.
pub(super) fn text(pids: &[u32]) -> String {
    let mut answer = String::new();
    let asked = !pids.is_empty();
    let all: Vec<u32> = if asked { pids.to_vec() } else { every_process() };
    for pid in all {
        let table = heap::look(pid);
        let Some(facts) = Facts::of(pid) else {
            if asked {
                answer += &format!("{pid}: no such process, or it may not be looked at\n");
            }
            continue;
        };
        if asked || table.is_some() || facts.has_library() || facts.wants_library() {
            describe(&mut answer, pid, table, &facts);
        }
    }
    if answer.is_empty() {
        answer += "no process samples its heap; `flamekeeper heap enable UNIT` has a service do so\n";
    }
    answer
}

fn describe(answer: &mut String, pid: u32, table: Option<TableFacts>, facts: &Facts) {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let state = match table {
        Some(TableFacts { wanted: 0, .. }) => "sampling is switched off".to_owned(),
        Some(table) => {
            let slowed = if table.interval > table.wanted { ", lengthened because it allocates so much" } else { "" };
            let full = if table.lost_full > 0 { format!(", {} found no place", table.lost_full) } else { String::new() };
            format!("samples every {} bytes{slowed}: {} taken, {} live{full}", table.interval, table.taken, table.live)
        }
        None if facts.has_library() => "has the library, and no table: the kernel or a limit (ulimit -f) did not allow it".to_owned(),
        None => "does not sample".to_owned(),
    };
    // Writing to a String cannot fail.
    _ = writeln!(answer, "{pid} {}: {state}", name.trim_end());
    if facts.is_opaque() {
        answer.push_str("  not seen: a kernel thread, or another user's process that may not be looked at\n");
    }
    for kind in facts.blindness(table.is_some()) {
        _ = writeln!(answer, "  not seen: {}\n  do: {}", kind.cause(), kind.advice());
    }
}

fn every_process() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}
