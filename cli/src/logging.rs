//! Logs go to standard error, one line an event.

use tracing_subscriber::EnvFilter;

/// Starts logging. `FLAMEKEEPER_LOG` sets what is logged (`debug`, `flamekeeper_agent=trace`), `default` where it is unset.
pub(crate) fn start(default: &str) {
    let filter = EnvFilter::try_from_env("FLAMEKEEPER_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Without colours: they would be another dependency.
    builder.with_ansi(false).init();
}
