//! Whether a batch can be stored, beyond being well formed.

use flamekeeper_profile::{Batch, Labels, Timestamp};

/// Which windows are taken, relative to the clock. Nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// A window that started longer ago would be deleted at once.
    pub age: u64,
    /// A window that starts later than this from now comes from a clock that is wrong.
    pub future: u64,
    /// The longest window.
    pub length: u64,
}

/// Bytes of all labels of one series: they are a key in the store.
const MAX_LABEL_BYTES: usize = 16 << 10;

/// Why a batch cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBatch {
    /// It states no time.
    #[error("the profiles state no time")]
    NoTime,
    /// It is older than what is kept.
    #[error("the window started {seconds} s ago, longer than profiles are kept ({limit} s)")]
    TooOld {
        /// Its age.
        seconds: u64,
        /// What is kept.
        limit: u64,
    },
    /// It lies in the future.
    #[error("the window starts {seconds} s in the future; set the sender's clock")]
    Future {
        /// How far.
        seconds: u64,
    },
    /// It is too long.
    #[error("the window is {seconds} s long, the limit is {limit} s")]
    TooLong {
        /// Its length.
        seconds: u64,
        /// The limit.
        limit: u64,
    },
    /// A series has too many bytes of labels.
    #[error("a series has {bytes} bytes of labels, the limit is {limit}")]
    Labels {
        /// How many.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

impl InvalidBatch {
    /// The reason in one word, by which it is counted.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::NoTime => "no_time",
            Self::TooOld { .. } => "too_old",
            Self::Future { .. } => "future",
            Self::TooLong { .. } => "too_long",
            Self::Labels { .. } => "labels",
        }
    }
}

/// Checks a batch against the clock and the store's bounds.
///
/// # Errors
/// [`InvalidBatch`].
pub(super) fn validate(batch: &Batch, accepted: &Accepted, now: Timestamp) -> Result<(), InvalidBatch> {
    let from = batch.window.from;
    let seconds = |nanoseconds: u64| nanoseconds / Timestamp::SECOND;
    if from == Timestamp(0) {
        return Err(InvalidBatch::NoTime);
    }
    let age = now.0.saturating_sub(from.0);
    if age > accepted.age {
        return Err(InvalidBatch::TooOld { seconds: seconds(age), limit: seconds(accepted.age) });
    }
    let ahead = from.0.saturating_sub(now.0);
    if ahead > accepted.future {
        return Err(InvalidBatch::Future { seconds: seconds(ahead) });
    }
    let length = batch.window.duration();
    if length > accepted.length {
        return Err(InvalidBatch::TooLong { seconds: seconds(length), limit: seconds(accepted.length) });
    }
    let label_bytes = |labels: &Labels| labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let largest = batch.series.iter().map(|series| label_bytes(&series.labels)).chain([label_bytes(&batch.labels)]).max();
    match largest {
        Some(bytes) if bytes > MAX_LABEL_BYTES => Err(InvalidBatch::Labels { bytes, limit: MAX_LABEL_BYTES }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use flamekeeper_profile::{AgentFigures, Ledger, SampleType, Series, Tables, Window};

    use super::*;

    const S: u64 = Timestamp::SECOND;

    fn batch(from: u64, length: u64, label: usize) -> Batch {
        let labels = Labels::new().with("service", &"x".repeat(label));
        let series = Series { labels, sample_type: SampleType::cpu(1), values: Vec::new() };
        let window = Window::new(Timestamp(from), Timestamp(from + length));
        let (tables, ledger, figures) = (Tables::new(), Ledger::new(), AgentFigures::default());
        Batch { window, labels: Labels::new(), tables, series: vec![series], ledger, figures }
    }

    /// Late and slightly early windows are taken, others refused with the reason.
    #[test]
    fn windows_and_labels() {
        let accepted = Accepted { age: 1000 * S, future: 10 * S, length: 100 * S };
        let now = Timestamp(5000 * S);
        let check = |batch: Batch| validate(&batch, &accepted, now);
        assert_eq!(check(batch(4001 * S, 10 * S, 5)), Ok(()));
        assert_eq!(check(batch(5009 * S, 10 * S, 5)), Ok(()));
        assert_eq!(check(batch(3000 * S, 10 * S, 5)), Err(InvalidBatch::TooOld { seconds: 2000, limit: 1000 }));
        assert_eq!(check(batch(5011 * S, 10 * S, 5)), Err(InvalidBatch::Future { seconds: 11 }));
        assert_eq!(check(batch(4500 * S, 101 * S, 5)), Err(InvalidBatch::TooLong { seconds: 101, limit: 100 }));
        assert!(matches!(check(batch(4500 * S, S, 20_000)), Err(InvalidBatch::Labels { .. })));
        assert_eq!(check(batch(0, S, 5)), Err(InvalidBatch::NoTime));
    }
}
