//! Which objects are wanted, and which are not asked for now.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use flamekeeper_profile::BuildId;

/// Most objects whose answer is remembered; above it, those that may be asked for again are forgotten first, then all.
const MAX_SETTLED: usize = 100_000;

/// Objects in the order in which they were noted, each once: those that a query met, and those that were only seen in a profile,
/// which wait until nobody else does.
#[derive(Debug)]
pub(super) struct Wanted {
    state: Mutex<State>,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    met: VecDeque<BuildId>,
    /// With the time before which they are not asked for.
    seen: VecDeque<(BuildId, Instant)>,
    /// Each object that waits or was asked for.
    objects: HashMap<BuildId, Stage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It waits among those that were seen.
    Seen,
    /// It waits among those that a query met, or is being asked for.
    Under,
    /// It is not asked for before then.
    Settled(Instant),
}

impl Wanted {
    pub(super) fn new(most: usize) -> Self {
        Self { state: Mutex::default(), most }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an object that a query met, and says whether it is among those now and was not before.
    pub(super) fn note(&self, id: &BuildId, now: Instant) -> bool {
        let mut state = self.state();
        let known = match state.objects.get(id) {
            Some(Stage::Under) => true,
            Some(Stage::Settled(until)) => now < *until,
            // It is found in its new stage when its turn comes.
            Some(Stage::Seen) | None => false,
        };
        if known || state.met.len() >= self.most {
            return false;
        }
        state.objects.insert(id.clone(), Stage::Under);
        state.met.push_back(id.clone());
        true
    }

    /// Notes an object that was seen in a profile, to be asked for at `due` or later, and says whether it waits now and did not
    /// before.
    pub(super) fn note_seen(&self, id: &BuildId, now: Instant, due: Instant) -> bool {
        let mut state = self.state();
        let known = match state.objects.get(id) {
            Some(Stage::Under | Stage::Seen) => true,
            Some(Stage::Settled(until)) => now < *until,
            None => false,
        };
        if known || state.seen.len() >= self.most {
            return false;
        }
        state.objects.insert(id.clone(), Stage::Seen);
        state.seen.push_back((id.clone(), due));
        true
    }

    /// The object that a query met and that has waited longest.
    pub(super) fn next(&self) -> Option<BuildId> {
        self.state().met.pop_front()
    }

    /// The object that was seen first, once its time has come. Else the time that it comes; none where no object waits.
    pub(super) fn next_seen(&self, now: Instant) -> Result<BuildId, Option<Instant>> {
        let mut state = self.state();
        loop {
            let Some((id, due)) = state.seen.front() else { return Err(None) };
            if now < *due {
                return Err(Some(*due));
            }
            let id = id.clone();
            state.seen.pop_front();
            // Else a query has met it meanwhile.
            if state.objects.get(&id) == Some(&Stage::Seen) {
                state.objects.insert(id.clone(), Stage::Under);
                return Ok(id);
            }
        }
    }

    /// An object was asked for; it is not again before then.
    pub(super) fn settle(&self, id: BuildId, until: Instant) {
        let mut state = self.state();
        if state.objects.len() >= MAX_SETTLED {
            let now = Instant::now();
            state.objects.retain(|_, stage| !matches!(stage, Stage::Settled(until) if *until <= now));
        }
        if state.objects.len() >= MAX_SETTLED {
            state.objects.retain(|_, stage| !matches!(stage, Stage::Settled(_)));
        }
        state.objects.insert(id, Stage::Settled(until));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ids() -> [BuildId; 3] {
        ["gnu:0a", "gnu:0b", "gnu:0c"].map(|id| id.parse().unwrap())
    }

    /// An object waits once, is not wanted again until its answer is old, and no more wait than may.
    #[test]
    fn once_and_later() {
        let (wanted, now) = (Wanted::new(2), Instant::now());
        let [a, b, c] = ids();
        assert!(wanted.note(&a, now) && !wanted.note(&a, now) && wanted.note(&b, now));
        assert!(!wanted.note(&c, now), "two wait");
        assert_eq!(wanted.next(), Some(a.clone()));
        assert!(!wanted.note(&a, now), "it is being asked for");
        wanted.settle(a.clone(), now + Duration::from_secs(10));
        assert!(!wanted.note(&a, now + Duration::from_secs(9)));
        assert!(!wanted.note_seen(&a, now + Duration::from_secs(9), now));
        assert!(wanted.note(&a, now + Duration::from_secs(10)));
        assert_eq!([wanted.next(), wanted.next(), wanted.next()], [Some(b), Some(a), None]);
    }

    /// What was only seen waits for its time, and a query that meets it makes it wait no longer, and be asked for once.
    #[test]
    fn seen_and_met() {
        let (wanted, now) = (Wanted::new(2), Instant::now());
        let [a, b, c] = ids();
        let due = now + Duration::from_secs(5);
        assert!(wanted.note_seen(&a, now, due) && !wanted.note_seen(&a, now, due) && wanted.note_seen(&b, now, due));
        assert!(!wanted.note_seen(&c, now, due), "two wait");
        assert_eq!((wanted.next(), wanted.next_seen(now)), (None, Err(Some(due))));
        assert!(wanted.note(&a, now) && !wanted.note(&a, now) && !wanted.note_seen(&a, now, due));
        assert_eq!((wanted.next(), wanted.next()), (Some(a), None));
        assert_eq!((wanted.next_seen(due), wanted.next_seen(due)), (Ok(b.clone()), Err(None)));
        assert!(!wanted.note(&b, due), "it is being asked for");
    }
}
