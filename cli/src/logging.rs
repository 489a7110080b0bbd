//! Logs go to standard error, one line an event.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging. `FLAMEKEEPER_LOG` sets what is logged (`debug`, `flamekeeper_agent=trace`), `default` where it is unset.
pub(crate) fn start(default: &str) {
    let filter = EnvFilter::try_from_env("FLAMEKEEPER_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    builder.with_ansi(std::io::stderr().is_terminal()).init();
}
