//! Which versions services have, and which of them are news.

use std::collections::BTreeMap;
use std::time::Duration;

use flamekeeper_profile::Timestamp;

/// A service and a version of it.
pub(super) type Key = (String, String);

/// Services and versions that are kept in mind; beyond, new ones are not noted. A build each minute on a hundred services makes fewer in a day.
const MOST: usize = 100_000;
/// Versions that wait for samples at once.
const MOST_WAITING: usize = 100;
/// A version that was not seen for so long is gone: it will not get samples enough.
const GONE: u64 = 30 * 60 * Timestamp::SECOND;
/// Diffs in one look.
const MOST_DUE: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Seen {
    begun: bool,
    /// Versions of each service.
    known: BTreeMap<String, Vec<String>>,
    count: usize,
    waiting: BTreeMap<Key, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    last_seen: Timestamp,
    /// When its samples are counted again.
    next: Timestamp,
}

impl Seen {
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// What is no news.
    pub(super) fn begin(&mut self, known: Vec<Key>) {
        self.begun = true;
        for key in known {
            self.know(&key);
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn settle(&mut self, key: &Key) {
        self.waiting.remove(key);
    }

    /// Notes what runs now, and answers the versions whose samples are to be counted, those that waited longest first.
    pub(super) fn note(&mut self, recent: Vec<Key>, told: impl Fn(&Key) -> bool, now: Timestamp, again: Duration) -> Vec<Key> {
        for key in recent {
            if let Some(waiting) = self.waiting.get_mut(&key) {
                waiting.last_seen = now;
                continue;
            }
            let has_others = self.known.contains_key(&key.0);
            // The first version of a service has nothing to be compared with.
            if self.know(&key) && has_others && !told(&key) && self.waiting.len() < MOST_WAITING {
                self.waiting.insert(key, Waiting { last_seen: now, next: now });
            }
        }
        self.waiting.retain(|_, waiting| waiting.last_seen.saturating_add(GONE) >= now);
        let mut due: Vec<(Timestamp, Key)> =
            self.waiting.iter().filter(|(_, waiting)| waiting.next <= now).map(|(key, waiting)| (waiting.next, key.clone())).collect();
        due.sort();
        due.truncate(MOST_DUE);
        let again = u64::try_from(again.as_nanos()).unwrap_or(u64::MAX);
        for (_, key) in &due {
            if let Some(waiting) = self.waiting.get_mut(key) {
                waiting.next = now.saturating_add(again);
            }
        }
        due.into_iter().map(|(_, key)| key).collect()
    }

    /// Whether it was not known.
    fn know(&mut self, (service, version): &Key) -> bool {
        if self.count >= MOST {
            return false;
        }
        let versions = self.known.entry(service.clone()).or_default();
        let new = !versions.contains(version);
        if new {
            versions.push(version.clone());
            self.count += 1;
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60 * Timestamp::SECOND;

    fn key(service: &str, version: &str) -> Key {
        (service.to_owned(), version.to_owned())
    }

    fn at(minute: u64) -> Timestamp {
        Timestamp(minute * MINUTE)
    }

    /// A version beside known ones is news, the first of a service and what was told are not.
    #[test]
    fn news() {
        let mut seen = Seen::default();
        seen.begin(vec![key("api", "1"), key("db", "7")]);
        let again = Duration::from_secs(300);
        let recent = || vec![key("api", "1"), key("api", "2"), key("db", "8"), key("new", "1")];
        let told = |found: &Key| found.0 == "db";
        assert_eq!(seen.note(recent(), told, at(1), again), [key("api", "2")]);
        assert_eq!(seen.note(recent(), told, at(2), again), [], "it is asked again after five minutes");
        assert_eq!(seen.note(recent(), told, at(6), again), [key("api", "2")]);
        seen.settle(&key("api", "2"));
        assert_eq!((seen.note(recent(), told, at(20), again), seen.waiting()), (vec![], 0));
    }

    /// A version that is gone is forgotten.
    #[test]
    fn gone() {
        let mut seen = Seen::default();
        seen.begin(vec![key("api", "1")]);
        let again = Duration::from_secs(300);
        assert_eq!(seen.note(vec![key("api", "2")], |_| false, at(1), again).len(), 1);
        assert_eq!(seen.note(Vec::new(), |_| false, at(30), again).len(), 1);
        assert_eq!((seen.note(Vec::new(), |_| false, at(40), again).len(), seen.waiting()), (0, 0));
    }
}
