//! The one place of the collector that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use flamekeeper_profile::Timestamp;

/// The wall clock now; the epoch itself for a clock that stands before it.
#[must_use]
pub(crate) fn now() -> Timestamp {
    #[allow(clippy::disallowed_methods)] // This is the one place that the ban names.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
