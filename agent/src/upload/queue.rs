//! Objects that wait for their upload, and those that are done with.

use std::collections::HashMap;
use std::collections::HashSet;

use flamekeeper_profile::BuildId;

use crate::engine::ObjectSeen;

/// Objects that wait at most, each with an open file.
const MAX_WAITING: usize = 4096;
/// Objects remembered as done with at most; beyond it all are forgotten, and asked for again when seen again.
const MAX_SETTLED: usize = 1 << 16;

/// The uploader's queue. An object is in it once.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// With the size of each file in bytes.
    waiting: HashMap<BuildId, (u64, ObjectSeen)>,
    settled: HashSet<BuildId>,
}

impl Queue {
    /// Adds an object, unless it is known, or there are too many: that one is asked for when it is seen again.
    pub(super) fn add(&mut self, object: ObjectSeen) {
        if self.settled.contains(&object.build_id) || self.waiting.contains_key(&object.build_id) {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            tracing::debug!(build_id = %object.build_id, path = object.path, "too many objects wait for their upload");
            return;
        }
        self.put_back(object);
    }

    pub(super) fn put_back(&mut self, object: ObjectSeen) {
        let size = object.file.metadata().map_or(u64::MAX, |data| data.len());
        self.waiting.insert(object.build_id.clone(), (size, object));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Up to `most` objects to ask for.
    pub(super) fn group(&self, most: usize) -> Vec<BuildId> {
        self.waiting.keys().take(most).cloned().collect()
    }

    /// Takes out the smallest of these that waits.
    pub(super) fn smallest(&mut self, ids: &[BuildId]) -> Option<ObjectSeen> {
        let waiting = ids.iter().filter_map(|id| self.waiting.get(id).map(|(size, _)| (*size, id)));
        let (_, id) = waiting.min()?;
        self.waiting.remove(id).map(|(_, object)| object)
    }

    /// The object is done with.
    pub(super) fn settle(&mut self, id: &BuildId) {
        self.waiting.remove(id);
        if self.settled.len() >= MAX_SETTLED {
            self.settled.clear();
        }
        self.settled.insert(id.clone());
    }
}
