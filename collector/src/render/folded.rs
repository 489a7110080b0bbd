//! Folded text.

use flamekeeper_profile::write_folded;

use crate::query::SymbolizedProfile;

/// All stacks as folded text, **root first**, one a line, values in the profile's unit. Markers of truncated stacks stand
/// where they stand in the call tree, so that the values add up to the same total.
#[must_use]
pub fn folded(profile: &SymbolizedProfile) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    _ = write_folded(&profile.tree(), &mut text);
    text
}
