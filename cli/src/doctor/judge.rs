//! What the facts mean.

use std::path::Path;

use flamekeeper_agent::permissions::Lack;

use super::check::{Check, Verdict};
use super::host::{Disk, Programs};

/// Names that are shown of a long list.
const SHOWN: usize = 3;
/// Clocks that differ by less are in step, as far as an HTTP date can tell.
const SECONDS_IN_STEP: u64 = 5;
/// Below this the spool may not even hold an hour.
const LEAST_FREE: u64 = 64 << 20;

/// A kernel's release: what the agent uses is in `docs/kernels.md`.
pub(super) fn kernel(release: &str) -> Check {
    let mut parts = release.split(|letter: char| !letter.is_ascii_digit()).map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= (5, 10) => Check::ok("kernel", release),
        (Some(major), Some(minor)) if (major, minor) >= (5, 3) => Check::warning(
            "kernel",
            format!("{release}: the agent is made for 5.10 and newer"),
            "docs/kernels.md says what is missing before",
        ),
        (Some(_), Some(_)) => Check::problem("kernel", format!("{release} is too old"), "the agent runs on Linux 5.10 and newer"),
        _ => Check::warning("kernel", format!("its release {release:?} is not understood"), "the agent runs on Linux 5.10 and newer"),
    }
}

/// A configuration file: absent, or read, with what is wrong with it.
pub(super) fn configuration(whose: &str, path: &Path, read: Option<Option<&(impl std::error::Error + ?Sized)>>) -> Check {
    let path = path.display();
    match read {
        None => Check::ok("configuration", format!("no {path}: the {whose}'s defaults hold")),
        Some(None) => Check::ok("configuration", format!("{path} is right")),
        Some(Some(error)) => Check::problem("configuration", error.to_string(), format!("mend it; the {whose} does not start with it")),
    }
}

/// The agent's process.
pub(super) fn agent(running: Option<u32>) -> Check {
    match running {
        Some(pid) => Check::ok("agent", format!("runs as process {pid}")),
        None => Check::warning(
            "agent",
            "none runs on this host",
            "systemctl start flamekeeper-agent, or see why it ended: journalctl -u flamekeeper-agent",
        ),
    }
}

/// What the agent's process may do; without one, what this one may.
pub(super) fn privileges(lacks: &[Lack], running: Option<u32>) -> Vec<Check> {
    let advice = match running {
        Some(_) => "give it to the agent (AmbientCapabilities= in its unit has all that it needs), or live with it",
        None => "this is what this command may do: run it as root, or start the agent, whose own privileges are judged then",
    };
    if lacks.is_empty() {
        return vec![Check::ok("privileges", "all that sampling the whole host needs")];
    }
    let check = |lack: &Lack| {
        let verdict = if lack.fatal && running.is_some() { Verdict::Problem } else { Verdict::Warning };
        Check { name: "privileges", verdict, found: lack.text.clone(), advice: Some(advice.to_owned()) }
    };
    lacks.iter().map(check).collect()
}

fn some_of(names: &[String]) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// Build ids: what identifies a program on every host.
pub(super) fn build_ids(programs: &Programs) -> Check {
    let Programs { read, closed, without_id, .. } = programs;
    if *read == 0 {
        return Check::warning("build ids", format!("none of {closed} programs could be read"), "run this command as root");
    }
    let closed = if *closed > 0 { format!(" ({closed} could not be read: run this as root)") } else { String::new() };
    if without_id.is_empty() {
        return Check::ok("build ids", format!("all of {read} programs that run have one{closed}"));
    }
    Check::warning(
        "build ids",
        format!("{} of {read} programs have none: {}{closed}", without_id.len(), some_of(without_id)),
        "they are told apart by a hash of the file, so debuginfod and packages of debug files cannot name them: link them with --build-id",
    )
}

/// Names of functions.
pub(super) fn symbols(programs: &Programs, debuginfod: bool) -> Check {
    let nameless = &programs.nameless;
    match (nameless.is_empty(), debuginfod) {
        (true, _) => Check::ok("symbols", "this host can name the functions of every program that was read"),
        (false, true) => {
            Check::ok("symbols", format!("{} programs have names from debuginfod only: {}", nameless.len(), some_of(nameless)))
        }
        (false, false) => Check::warning(
            "symbols",
            format!("{} of {} programs are stripped: {}", nameless.len(), programs.read, some_of(nameless)),
            "names come from a -dbg package, a symbol table (do not strip), debuginfod, or `flamekeeper symbols add FILE`",
        ),
    }
}

fn gigabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000_000;
    format!("{}.{} GB", tenths / 10, tenths % 10)
}

/// Room for batches that the collector has not taken.
pub(super) fn spool_disk(disk: &Disk, cap: u64) -> Check {
    let place = disk.directory.display();
    match disk.free {
        None => Check::warning("disk", format!("{place} does not tell how much is free"), "see that the spool has room"),
        Some(free) if free < LEAST_FREE => Check::problem(
            "disk",
            format!("{} free for the spool, below {place}", gigabytes(free)),
            "make room: samples are lost while the collector is away",
        ),
        Some(free) if free < cap => Check::warning(
            "disk",
            format!("{} free for the spool, below {place}, which may take {}", gigabytes(free), gigabytes(cap)),
            "make room, or lower spool.max_bytes",
        ),
        Some(free) => Check::ok("disk", format!("{} free for the spool, below {place}", gigabytes(free))),
    }
}

/// Room for the collector's store.
pub(super) fn collector_disk(disk: &Disk, least: u64) -> Check {
    let place = disk.directory.display();
    match disk.free {
        None => Check::warning("collector disk", format!("{place} does not tell how much is free"), "see that the store has room"),
        Some(free) if free < least => Check::problem(
            "collector disk",
            format!("{} free below {place}, less than retention.min_free_bytes", gigabytes(free)),
            "make room: agents are told to wait until then",
        ),
        Some(free) => Check::ok("collector disk", format!("{} free below {place}", gigabytes(free))),
    }
}

/// This host's clock: kept in step by somebody, and near the collector's.
pub(super) fn clock(synchronized: Option<bool>, ahead: Option<i64>) -> Check {
    let advice = "run an NTP client (chrony, systemd-timesyncd): windows of hosts whose clocks differ do not fit together";
    match (synchronized, ahead) {
        (_, Some(ahead)) if ahead.unsigned_abs() > SECONDS_IN_STEP => {
            let side = if ahead > 0 { "behind" } else { "ahead of" };
            let found = format!("{} seconds {side} the collector's", ahead.unsigned_abs());
            if ahead.unsigned_abs() > 3600 { Check::problem("clock", found, advice) } else { Check::warning("clock", found, advice) }
        }
        (Some(false), _) => Check::warning("clock", "nobody keeps it in step", advice),
        (Some(true), _) => Check::ok("clock", "kept in step"),
        (None, _) => Check::ok("clock", "the system does not tell whether it is kept in step"),
    }
}

/// The collector that the agent ships to.
pub(super) fn collector(address: &str, answer: Result<u16, String>) -> Check {
    match answer {
        Ok(200) => Check::ok("collector", format!("{address} answers")),
        Ok(status) => {
            Check::problem("collector", format!("{address} answers with status {status}"), "see its log, and whether a proxy lies between")
        }
        Err(error) => Check::problem(
            "collector",
            format!("{address} cannot be reached: {error}"),
            "start it, or set `collector` in the agent's configuration; until then the spool keeps what it can",
        ),
    }
}

/// A debuginfod server: 404 is what it says of a build id that nobody has.
pub(super) fn debuginfod(url: &str, answer: Result<Option<u16>, String>) -> Check {
    match answer {
        Ok(None) => Check::ok("debuginfod", format!("{url} accepts connections")),
        Ok(Some(404)) => Check::ok("debuginfod", format!("{url} answers")),
        Ok(Some(status)) => {
            Check::warning("debuginfod", format!("{url} answers with status {status} where 404 was expected"), "is it a debuginfod server?")
        }
        Err(error) => Check::warning(
            "debuginfod",
            format!("{url} cannot be reached: {error}"),
            "functions of objects that hosts cannot name stay without names",
        ),
    }
}

/// No server is configured.
pub(super) fn no_debuginfod() -> Check {
    Check::ok("debuginfod", "no server is configured: names come from the hosts")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn is(check: &Check) -> Verdict {
        check.verdict
    }

    /// Releases as distributions write them, and some that nobody does.
    #[test]
    fn kernels() {
        for (release, verdict) in [
            ("6.1.0-18-amd64", Verdict::Ok),
            ("5.10", Verdict::Ok),
            ("5.4.0-150-generic", Verdict::Warning),
            ("3.10.0-1160.el7", Verdict::Problem),
            ("", Verdict::Warning),
            ("x.y", Verdict::Warning),
        ] {
            assert_eq!(is(&kernel(release)), verdict, "{release}");
        }
    }

    /// Clocks: near, far, very far, and kept by nobody.
    #[test]
    fn clocks() {
        assert_eq!(is(&clock(Some(true), Some(-2))), Verdict::Ok);
        assert_eq!(is(&clock(Some(true), Some(90))), Verdict::Warning);
        assert!(clock(Some(true), Some(90)).found.starts_with("90 seconds behind"));
        assert_eq!(is(&clock(Some(true), Some(-7200))), Verdict::Problem);
        assert_eq!(is(&clock(Some(false), None)), Verdict::Warning);
        assert_eq!(is(&clock(None, None)), Verdict::Ok);
    }

    /// A disk that is full is a problem, one that is short a warning.
    #[test]
    fn disks() {
        let disk = |free| Disk { directory: "/var".into(), free };
        assert_eq!(is(&spool_disk(&disk(Some(1 << 20)), 1 << 30)), Verdict::Problem);
        assert_eq!(is(&spool_disk(&disk(Some(500 << 20)), 1 << 30)), Verdict::Warning);
        assert_eq!(is(&spool_disk(&disk(Some(2 << 30)), 1 << 30)), Verdict::Ok);
        assert_eq!(is(&spool_disk(&disk(None), 1 << 30)), Verdict::Warning);
        assert_eq!(is(&collector_disk(&disk(Some(5)), 10)), Verdict::Problem);
        assert_eq!(is(&collector_disk(&disk(Some(50)), 10)), Verdict::Ok);
    }

    /// Who cannot be reached, who answers wrongly, who is well.
    #[test]
    fn servers() {
        fn refused<T>() -> Result<T, String> {
            Err("connection refused".to_owned())
        }
        assert_eq!(
            [is(&collector("c", Ok(200))), is(&collector("c", Ok(503))), is(&collector("c", refused()))],
            [Verdict::Ok, Verdict::Problem, Verdict::Problem]
        );
        assert_eq!(
            [Ok(None), Ok(Some(404)), Ok(Some(200)), refused()].map(|answer| is(&debuginfod("d", answer))),
            [Verdict::Ok, Verdict::Ok, Verdict::Warning, Verdict::Warning]
        );
    }

    /// Programs without build id or names are counted and some of them named.
    #[test]
    fn programs() {
        let names: Vec<String> = (0..5).map(|number| format!("/bin/{number}")).collect();
        let some = Programs { read: 9, closed: 1, without_id: names.clone(), nameless: names };
        let check = build_ids(&some);
        assert!(is(&check) == Verdict::Warning && check.found.contains("5 of 9") && check.found.contains("/bin/2 and 2 more"), "{check:?}");
        assert_eq!((is(&symbols(&some, false)), is(&symbols(&some, true))), (Verdict::Warning, Verdict::Ok));
        let none = Programs { read: 0, closed: 4, ..Programs::default() };
        assert_eq!(is(&build_ids(&none)), Verdict::Warning);
        let good = Programs { read: 3, ..Programs::default() };
        assert_eq!((is(&build_ids(&good)), is(&symbols(&good, false))), (Verdict::Ok, Verdict::Ok));
    }

    /// Lacks of a running agent are as bad as they say; without one they are those of this command.
    #[test]
    fn lacks() {
        let lack = [Lack { fatal: true, text: "no".into() }];
        assert_eq!(is(&privileges(&lack, Some(1))[0]), Verdict::Problem);
        assert_eq!(is(&privileges(&lack, None)[0]), Verdict::Warning);
        assert_eq!(is(&privileges(&[], None)[0]), Verdict::Ok);
    }
}
