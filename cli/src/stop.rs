//! Ends a program on SIGINT (Ctrl-C) and SIGTERM.

use anyhow::{Context as _, Result};
use flamekeeper_agent::stop::StopFlag;
use tokio::signal::unix::{SignalKind, signal};

/// Raises the flag on the first SIGINT or SIGTERM. A second one of either ends the process at once, as if nobody
/// handled it: a person who presses Ctrl-C twice means it.
///
/// # Errors
/// When the signals cannot be handled.
pub(crate) fn on_signals(flag: &StopFlag) -> Result<()> {
    let flag = flag.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot handle signals")?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let wait = move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            flag.raise();
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        });
        // 128 + SIGINT, as a shell tells it. This is the one way out that does not lead over main: it is asked for twice.
        #[allow(clippy::exit)]
        std::process::exit(130);
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).context("cannot start a thread")?;
    Ok(())
}

/// Is ready once the flag is raised. The flag is looked at ten times a second: a descriptor in tokio's reactor would be
/// quicker by what nobody notices.
pub(crate) async fn raised(flag: StopFlag) {
    while !flag.is_raised() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
