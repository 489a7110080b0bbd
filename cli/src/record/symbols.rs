//! Names what was recorded, from the object files of this host.

use flamekeeper_collector::query::{Profile, SymbolizedProfile};
use flamekeeper_profile::Completeness;
use flamekeeper_symbolizer::LocalSymbols;

use super::capture::Captured;

/// The profile with names, and what is worth a note about it.
///
/// A running process may see other files than we do, in a container for instance: its own are looked at first.
pub(super) fn name(captured: Captured, pid: Option<u32>) -> (SymbolizedProfile, String) {
    let notes = if captured.user_only { " (without the kernel's frames, for want of permission)" } else { "" };
    let profile = Profile {
        merged: captured.merged,
        profile_type: "cpu".into(),
        unit: "nanoseconds".into(),
        window: captured.window,
        completeness: Completeness { ledger: captured.ledger, ..Completeness::default() },
    };
    let symbols = pid.map_or_else(LocalSymbols::new, LocalSymbols::of_process);
    (profile.symbolize(&symbols), notes.to_owned())
}
