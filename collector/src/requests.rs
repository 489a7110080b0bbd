//! Counts of requests that are posted, as batches.
//!
//! A count is cut into at most `PARTS` spans of one length, each a batch of two series ([`Requests`]), so that a window which begins or ends within a
//! count takes its part of it, and the store needs nothing of its own for them. The identities of the batches follow from the count's key, or from all of the count where
//! it has none: what is posted again is known as such, and one that was cut off by a crash is completed.

use flamekeeper_profile::requests::Requests;
use flamekeeper_profile::{AgentFigures, Batch, FrameKind, Labels, Ledger, Series, StackEnd, Svma, Tables, Timestamp, Window, label};
use flamekeeper_wire::{AgentId, BatchId, ParseBatchIdError};
use sha2::{Digest as _, Sha256};

/// Batches of a count at most.
const PARTS: u64 = 12;
/// The shortest span of a batch: an agent's window.
const SHORTEST: u64 = 10 * Timestamp::SECOND;
/// The longest span of a count.
const LONGEST: u64 = 3600 * Timestamp::SECOND;
/// Requests of a count: as many as a number in JSON holds exactly.
const MOST: u64 = 1 << 53;
/// Bytes of a service, a version, a host and a key.
const LONGEST_TEXT: usize = 256;
/// How far a count may lie ahead of the clock.
const FUTURE: u64 = 3600 * Timestamp::SECOND;

/// The label of these batches (not of their series), in the place of a host's: nobody's agent sent them.
pub(crate) const POSTED: &str = "posted";

/// Requests that a service served in a span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Which service.
    pub service: String,
    /// Its version; empty where whoever counts does not know it.
    pub version: String,
    /// The host that served them; empty for all hosts together.
    pub host: String,
    /// When.
    pub window: Window,
    /// How many.
    pub count: u64,
}

/// Why a count cannot be kept.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CountError {
    /// No service.
    #[error("service is missing: name the service that served the requests")]
    NoService,
    /// A text is none that a label can have.
    #[error("{what} must be at most {LONGEST_TEXT} bytes without control characters")]
    Text {
        /// Which.
        what: &'static str,
    },
    /// The span.
    #[error("a count is of 1 s to 1 h, this one of {seconds:.3} s (from and to); post longer ones in parts")]
    Span {
        /// Its length.
        seconds: f64,
    },
    /// It ends in the future.
    #[error("the count ends {seconds} s in the future; set the sender's clock")]
    Future {
        /// How far.
        seconds: u64,
    },
    /// Too many.
    #[error("count is {0}; at most {MOST} requests can be told exactly")]
    TooMany(u64),
    /// The key.
    #[error("the Idempotency-Key must be 1 to {LONGEST_TEXT} printable ASCII characters")]
    Key,
    /// Cannot be: an identity is made of digits.
    #[error(transparent)]
    Identity(#[from] ParseBatchIdError),
}

impl Count {
    /// Checks it against the clock and the bounds.
    ///
    /// # Errors
    /// [`CountError`].
    pub fn check(&self, now: Timestamp) -> Result<(), CountError> {
        if self.service.is_empty() {
            return Err(CountError::NoService);
        }
        for (what, text) in [("service", &self.service), ("version", &self.version), ("host", &self.host)] {
            if text.len() > LONGEST_TEXT || text.contains(char::is_control) {
                return Err(CountError::Text { what });
            }
        }
        let length = self.window.duration();
        if !(Timestamp::SECOND..=LONGEST).contains(&length) {
            return Err(CountError::Span { seconds: Timestamp(length).as_seconds() });
        }
        let ahead = self.window.to.0.saturating_sub(now.0);
        if ahead > FUTURE {
            return Err(CountError::Future { seconds: ahead / Timestamp::SECOND });
        }
        if self.count > MOST { Err(CountError::TooMany(self.count)) } else { Ok(()) }
    }

    /// The batches that it becomes. Those of two counts with the same key are the same to a store.
    ///
    /// # Errors
    /// [`CountError::Key`].
    pub fn batches(&self, key: Option<&str>) -> Result<Vec<(BatchId, Batch)>, CountError> {
        let agent = self.identity(key)?;
        let length = self.window.duration();
        let parts = length.div_ceil(SHORTEST).clamp(1, PARTS);
        // Both grow from 0 to the whole, and each part is a difference: so the parts add up.
        let share = |whole: u64, part: u64| u64::try_from(u128::from(whole) * u128::from(part) / u128::from(parts)).unwrap_or(whole);
        let at = |part: u64| self.window.from.saturating_add(share(length, part));
        let part = |number: u64| {
            let window = Window::new(at(number), at(number + 1));
            let served = share(self.count, number + 1) - share(self.count, number);
            (BatchId { agent: agent.clone(), sequence: number }, self.batch(window, served))
        };
        Ok((0..parts).map(part).collect())
    }

    fn batch(&self, window: Window, served: u64) -> Batch {
        let mut labels = Labels::new().with(label::SERVICE, &self.service);
        for (name, value) in [(label::VERSION, &self.version), (label::HOST, &self.host)] {
            if !value.is_empty() {
                labels.set(name, value);
            }
        }
        let mut tables = Tables::new();
        let mut series = Vec::new();
        for (of, value) in [(Requests::Served, served), (Requests::Counted, window.duration())] {
            if value > 0 {
                let frame = tables.intern_named(FrameKind::Other, None, Svma(0), of.frame());
                let stack = tables.intern_stack(&[frame], StackEnd::Root);
                series.push(Series { labels: labels.clone(), sample_type: of.sample_type(), values: vec![(stack, value)] });
            }
        }
        let labels = Labels::new().with(POSTED, Requests::Served.as_str());
        Batch { window, labels, tables, series, ledger: Ledger::new(), figures: AgentFigures::default() }
    }

    fn identity(&self, key: Option<&str>) -> Result<AgentId, CountError> {
        let mut digest = Sha256::new();
        match key {
            Some(key) if (1..=LONGEST_TEXT).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => {
                digest.update([1]);
                digest.update(key);
            }
            Some(_) => return Err(CountError::Key),
            None => {
                for text in [&self.service, &self.version, &self.host] {
                    digest.update((text.len() as u64).to_be_bytes());
                    digest.update(text);
                }
                [self.window.from.0, self.window.to.0, self.count].iter().for_each(|number| digest.update(number.to_be_bytes()));
            }
        }
        let hex = digest.finalize().iter().take(24).fold("requests_".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        Ok(hex.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = Timestamp::SECOND;

    fn count(seconds: u64, count: u64) -> Count {
        let window = Window::new(Timestamp(1000 * SECOND), Timestamp((1000 + seconds) * SECOND));
        Count { service: "api".into(), version: "1.5".into(), host: "web-1".into(), window, count }
    }

    fn sum(batches: &[(BatchId, Batch)], of: Requests) -> u64 {
        let series = batches.iter().flat_map(|(_, batch)| &batch.series);
        series.filter(|series| series.sample_type == of.sample_type()).map(Series::total).sum()
    }

    /// The parts of a count lie end to end and add up to it, however it is cut; a count of nothing is time all the same.
    #[test]
    fn parts_add_up() {
        for (seconds, requests, parts) in [(1, 7, 1), (10, 5, 1), (60, 1001, 6), (61, 3, 7), (3600, 1 << 53, 12), (300, 0, 12)] {
            let count = count(seconds, requests);
            let batches = count.batches(None).unwrap();
            assert_eq!(batches.len(), parts, "{seconds}");
            assert_eq!((sum(&batches, Requests::Served), sum(&batches, Requests::Counted)), (requests, seconds * SECOND));
            assert!(batches.windows(2).all(|two| two[0].1.window.to == two[1].1.window.from && two[0].0 != two[1].0));
            assert_eq!((batches[0].1.window.from, batches[parts - 1].1.window.to), (count.window.from, count.window.to));
        }
    }

    /// The same count has the same identity; another one has another, unless both have one key.
    #[test]
    fn identities() {
        let id = |count: &Count, key: Option<&str>| count.batches(key).unwrap()[0].0.to_string();
        let (one, other) = (count(60, 7), count(60, 8));
        assert_eq!(id(&one, None), id(&one.clone(), None));
        assert_ne!(id(&one, None), id(&other, None));
        assert_ne!(id(&one, None), id(&Count { version: "1.5web-1".into(), host: String::new(), ..one.clone() }, None));
        assert_eq!(id(&one, Some("a 1")), id(&other, Some("a 1")));
        assert_ne!(id(&one, Some("a 1")), id(&one, Some("a 2")));
        for key in ["", "a\n", "ä", &"x".repeat(257)] {
            assert_eq!(one.batches(Some(key)).unwrap_err(), CountError::Key, "{key:?}");
        }
    }

    /// What cannot be kept is refused by name.
    #[test]
    fn refusals() {
        let now = Timestamp(2000 * SECOND);
        let check = |count: Count| count.check(now);
        assert_eq!(check(count(60, 5)), Ok(()));
        assert_eq!(check(Count { service: String::new(), ..count(60, 5) }), Err(CountError::NoService));
        assert_eq!(check(Count { host: "a\nb".into(), ..count(60, 5) }), Err(CountError::Text { what: "host" }));
        assert_eq!(check(Count { version: "x".repeat(257), ..count(60, 5) }), Err(CountError::Text { what: "version" }));
        assert!(matches!(check(count(0, 5)), Err(CountError::Span { .. })));
        assert!(matches!(check(count(3601, 5)), Err(CountError::Span { .. })));
        assert_eq!(check(count(60, (1 << 53) + 1)), Err(CountError::TooMany((1 << 53) + 1)));
        let early = count(3600, 5).check(Timestamp(500 * SECOND));
        assert_eq!(early, Err(CountError::Future { seconds: 4100 }));
    }
}
