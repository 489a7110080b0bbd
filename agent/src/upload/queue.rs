//! Objects that wait to be offered, and those that are done with for a time.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use flamekeeper_object::ObjectFile;
use flamekeeper_profile::BuildId;

use super::best::Best;
use crate::engine::ObjectSeen;

/// Objects that wait at most, each with an open file.
const MAX_WAITING: usize = 4096;
/// Objects remembered as done with at most; beyond it all are forgotten, and offered again when seen again.
const MAX_SETTLED: usize = 1 << 16;
/// Of these, those at most whose file is kept open because its path leads to no file or another: in containers, mostly.
const MAX_KEPT_OPEN: usize = 256;
/// When an object is offered again, which a collector may have lost, or for which this host may have better symbols by then.
pub(super) const OFFER_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// An object that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) object: ObjectSeen,
    /// None until it was looked at.
    pub(super) best: Option<Best>,
    /// Not offered before.
    not_before: Instant,
}

#[derive(Debug)]
struct Settled {
    path: String,
    file: Option<File>,
    again: Instant,
}

/// The uploader's queue. An object is in it once.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: HashMap<BuildId, Waiting>,
    settled: HashMap<BuildId, Settled>,
    kept_open: usize,
    random: RandomState,
}

impl Queue {
    /// Adds an object, unless it is known, or there are too many: that one is offered when it is seen again.
    pub(super) fn add(&mut self, object: ObjectSeen, now: Instant) {
        if self.settled.contains_key(&object.build_id) || self.waiting.contains_key(&object.build_id) {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            tracing::debug!(build_id = %object.build_id, path = object.path, "too many objects wait for their upload");
            return;
        }
        self.waiting.insert(object.build_id.clone(), Waiting { object, best: None, not_before: now });
    }

    /// An object that was not looked at yet.
    pub(super) fn unknown(&self) -> Option<&ObjectSeen> {
        self.waiting.values().find(|waiting| waiting.best.is_none()).map(|waiting| &waiting.object)
    }

    /// What this host has for an object.
    pub(super) fn known(&mut self, id: &BuildId, best: Option<Best>) {
        if let Some(waiting) = self.waiting.get_mut(id) {
            waiting.best = best;
        }
    }

    /// Up to `most` objects to offer now, smallest first, so that a large one delays no other.
    pub(super) fn due(&self, most: usize, now: Instant) -> Vec<(BuildId, Best)> {
        let due = self.waiting.iter().filter(|(_, waiting)| waiting.not_before <= now);
        let mut due: Vec<_> = due.filter_map(|(id, waiting)| Some((id.clone(), waiting.best.clone()?))).collect();
        due.sort_by(|(left_id, left), (right_id, right)| (left.bytes, left_id).cmp(&(right.bytes, right_id)));
        due.truncate(most);
        due
    }

    /// When something is to be done: at once where an object was not looked at.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let waiting = self.waiting.values().map(|waiting| if waiting.best.is_none() { now } else { waiting.not_before });
        waiting.chain(self.settled.values().map(|settled| settled.again)).min()
    }

    pub(super) fn get(&self, id: &BuildId) -> Option<&Waiting> {
        self.waiting.get(id)
    }

    /// The object is not offered before this instant.
    pub(super) fn put_off(&mut self, id: &BuildId, until: Instant) {
        if let Some(waiting) = self.waiting.get_mut(id) {
            waiting.not_before = until;
        }
    }

    /// The object is done with for now.
    pub(super) fn settle(&mut self, id: &BuildId, now: Instant) {
        let Some(Waiting { object: ObjectSeen { path, file, .. }, .. }) = self.waiting.remove(id) else { return };
        if self.settled.len() >= MAX_SETTLED {
            self.settled.clear();
            self.kept_open = 0;
        }
        let kept = self.kept_open < MAX_KEPT_OPEN && !leads_to(&path, &file);
        self.kept_open += usize::from(kept);
        let again = now + OFFER_AGAIN.mul_f64(0.75 + 0.5 * self.chance(id));
        self.settled.insert(id.clone(), Settled { path, file: kept.then_some(file), again });
    }

    /// All objects are to be offered again, within `within`: the collector is another.
    pub(super) fn offer_all_again(&mut self, now: Instant, within: Duration) {
        let random = &self.random;
        for (id, settled) in &mut self.settled {
            settled.again = settled.again.min(now + within.mul_f64(chance(random, id)));
        }
    }

    /// Puts what is to be offered again among those that wait. What cannot be opened any more is forgotten.
    pub(super) fn wake(&mut self, now: Instant) {
        if self.settled.values().all(|settled| settled.again > now) {
            return;
        }
        let due: Vec<_> = self.settled.extract_if(|_, settled| settled.again <= now).collect();
        for (build_id, Settled { path, file, .. }) in due {
            self.kept_open -= usize::from(file.is_some());
            if let Some(file) = file.or_else(|| opened(&path, &build_id)) {
                self.add(ObjectSeen { build_id, path, file }, now);
            }
        }
    }

    fn chance(&self, id: &BuildId) -> f64 {
        chance(&self.random, id)
    }
}

/// From 0 to 1, another for each object and agent.
fn chance(random: &RandomState, id: &BuildId) -> f64 {
    f64::from(random.hash_one(id) as u32) / f64::from(u32::MAX)
}

/// Whether a path, as seen from here, is that of the open file.
fn leads_to(path: &str, file: &File) -> bool {
    let (Ok(there), Ok(ours)) = (std::fs::metadata(path), file.metadata()) else { return false };
    (there.dev(), there.ino()) == (ours.dev(), ours.ino())
}

/// The file at a path, if it is still the object.
fn opened(path: &str, id: &BuildId) -> Option<File> {
    let object = ObjectFile::open(path.as_ref()).ok().filter(|object| object.identity() == id)?;
    drop(object);
    File::open(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(path: &str) -> ObjectSeen {
        let build_id = ObjectFile::open(path.as_ref()).unwrap().identity().clone();
        ObjectSeen { build_id, path: path.into(), file: File::open(path).unwrap() }
    }

    /// An object that is done with is offered again after hours, each at another time, or soon where the collector changed;
    /// known by its path, or by its open file where the path leads elsewhere.
    #[test]
    fn offers_again() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let program = std::env::current_exe().unwrap();
        let object = seen(program.to_str().unwrap());
        let id = object.build_id.clone();
        for path in [object.path.clone(), "/no/such/path".to_owned()] {
            let object = ObjectSeen { path, ..seen(&object.path) };
            queue.add(object, start);
            queue.settle(&id, start);
            assert!(queue.unknown().is_none());
            let again = queue.next(start).unwrap();
            assert!(again >= start + OFFER_AGAIN.mul_f64(0.74) && again <= start + OFFER_AGAIN.mul_f64(1.26));
            queue.add(seen(program.to_str().unwrap()), start);
            queue.wake(again - Duration::from_secs(1));
            assert!(queue.unknown().is_none());
            queue.offer_all_again(start, Duration::from_secs(60));
            queue.wake(start + Duration::from_secs(60));
            assert_eq!(queue.unknown().map(|object| &object.build_id), Some(&id));
            queue = Queue::default();
        }
    }

    /// A path where another file is by then is not offered under the old identity.
    #[test]
    fn forgets_what_was_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (mut queue, start) = (Queue::default(), Instant::now());
        let path = dir.path().join("program").to_str().unwrap().to_owned();
        std::fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        let object = seen(&path);
        let id = object.build_id.clone();
        queue.add(object, start);
        queue.settle(&id, start);
        std::fs::copy("/bin/true", &path).unwrap();
        queue.offer_all_again(start, Duration::ZERO);
        queue.wake(start);
        assert!(queue.unknown().is_none() && queue.next(start).is_none());
    }
}
