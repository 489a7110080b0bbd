//! The dictionaries of one slot of time, in one keyspace.

use fjall::Keyspace;

use super::interner::Dictionary;

/// All dictionaries of a slot. Numbers of one slot mean nothing in another; what is in none of its rows any more is deleted
/// with the whole slot.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub(super) texts: Dictionary,
    pub(super) objects: Dictionary,
    pub(super) locations: Dictionary,
    /// Divided by service.
    pub(super) stacks: Dictionary,
    pub(super) services: Dictionary,
    pub(super) types: Dictionary,
    /// Sets of labels: of series, of agents, and those that all series of a row share.
    pub(super) series: Dictionary,
    pub(super) hosts: Dictionary,
}

impl Words {
    /// The tags never change: they are on disk.
    pub(super) fn new(keyspace: &Keyspace) -> Self {
        let dictionary = |tag, name| Dictionary::new(keyspace.clone(), tag, name);
        Self {
            texts: dictionary(b't', "text"),
            objects: dictionary(b'o', "object"),
            locations: dictionary(b'l', "location"),
            stacks: dictionary(b's', "stack"),
            services: dictionary(b'v', "service"),
            types: dictionary(b'y', "sample type"),
            series: dictionary(b'r', "series"),
            hosts: dictionary(b'h', "host"),
        }
    }
}
