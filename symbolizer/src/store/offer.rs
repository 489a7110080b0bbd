//! Which of the objects that hosts have are worth sending.

use flamekeeper_object::SymbolsPresent;
use flamekeeper_profile::BuildId;

use super::SymbolStore;
use super::index::Known;

/// What the store has of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    Nothing,
    /// Symbols from this source.
    Symbols(SymbolsPresent),
    /// An object that could not be converted; which source it had is not known any more.
    Bad,
    /// An object whose conversion failed lately for a reason that may pass.
    Postponed,
}

impl SymbolStore {
    /// What the store has of an object.
    #[must_use]
    pub fn held(&self, id: &BuildId) -> Held {
        match self.index.get(id) {
            None if self.is_postponed(id) => Held::Postponed,
            None => Held::Nothing,
            Some(Known::Stored { source, .. }) => Held::Symbols(source),
            Some(Known::Bad) => Held::Bad,
        }
    }
}
