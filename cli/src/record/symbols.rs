//! Names what was recorded, from the object files of this host.

use flamekeeper_collector::query::{Profile, SymbolizedProfile};
use flamekeeper_profile::Completeness;
use flamekeeper_symbolizer::LocalSymbols;

use super::capture::Captured;

/// The profile with names, and what is worth a note about it.
pub(super) fn name(captured: Captured) -> (SymbolizedProfile, String) {
    let notes = if captured.user_only { " (without the kernel's frames, for want of permission)" } else { "" };
    let profile = Profile {
        merged: captured.merged,
        profile_type: "cpu".into(),
        unit: "nanoseconds".into(),
        window: captured.window,
        completeness: Completeness { ledger: captured.ledger, ..Completeness::default() },
    };
    (profile.symbolize(&LocalSymbols::new()), notes.to_owned())
}
