//! Tells systemd's watchdog that the agent is alive, as long as the thread that samples makes rounds: `WatchdogSec=` of
//! systemd.service(5), sd_watchdog_enabled(3). A thread beside it that only says so would go on while sampling hangs.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::EngineStats;
use crate::notify;
use crate::stop::StopFlag;

/// The shortest pause. The engine makes a round a second at least, so a `WatchdogSec=` of 2 s or more has its life sign in time.
const LEAST: Duration = Duration::from_millis(500);

/// How often to look, so that systemd hears in time of each life sign; none where it does not watch this process.
#[must_use]
pub fn pause() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    pause_of(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), std::process::id())
}

fn pause_of(microseconds: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let limit = Duration::from_micros(microseconds?.parse().ok().filter(|limit| *limit > 0)?);
    Some((limit / 4).max(LEAST))
}

/// Looks and tells until the flag is raised.
pub(crate) fn run(pause: Duration, stats: &Arc<EngineStats>, stop: &StopFlag) {
    let mut told = None;
    while !sleep(pause, stop) {
        let rounds = stats.rounds.get();
        if told != Some(rounds) {
            notify::send("WATCHDOG=1");
            told = Some(rounds);
        }
    }
}

/// Whether the flag was raised meanwhile.
fn sleep(pause: Duration, stop: &StopFlag) -> bool {
    let mut poll = libc::pollfd { fd: stop.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one initialized pollfd, borrowed for the call.
    unsafe { libc::poll(&raw mut poll, 1, i32::try_from(pause.as_millis()).unwrap_or(i32::MAX)) };
    stop.is_raised()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quarter of what systemd says; nothing where it watches nobody, another process, or says what is no number.
    #[test]
    fn reads_what_systemd_says() {
        let seconds = |text| pause_of(Some(text), Some("7"), 7);
        assert_eq!(seconds("60000000"), Some(Duration::from_secs(15)));
        assert_eq!(seconds("1000000"), Some(LEAST));
        assert_eq!(pause_of(Some("60000000"), None, 7), Some(Duration::from_secs(15)));
        for (time, pid) in [(None, None), (Some("0"), None), (Some("soon"), None), (Some("60000000"), Some("8"))] {
            assert_eq!(pause_of(time, pid, 7), None, "{time:?} {pid:?}");
        }
    }
}
