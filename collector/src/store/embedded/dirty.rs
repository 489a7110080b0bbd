//! Markers: which buckets of the derived tiers lack something, and from which batch on.
//!
//! A marker is set in the same write as the first row that its bucket lacks, and taken away (or moved on) in the same write
//! as the sums that hold those rows. So after a crash a row is in its bucket or marked, never both and never neither.

use std::collections::BTreeMap;

use flamekeeper_profile::{Timestamp, Window};

use super::codec::Damaged;
use super::tier::Width;

/// What a marker is about: a service and type, by their numbers in the slot, or the ledgers of all agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    Rows { service: u32, sample_type: u32 },
    Ledgers,
}

/// The key of a marker: width u8, bucket start u64, service u32, type u32, big endian; the value is the ordinal u64 of the
/// first batch that the bucket lacks. Ledgers have the greatest number as both service and type, which no entry of a
/// dictionary has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DirtyKey {
    pub(super) width: Width,
    pub(super) bucket: Timestamp,
    pub(super) subject: Subject,
}

const KEY_LEN: usize = 17;

impl DirtyKey {
    /// The bucket that a window's start lies in.
    pub(super) const fn of(width: Width, from: Timestamp, subject: Subject) -> Self {
        Self { width, bucket: width.bucket(from), subject }
    }

    /// The bucket's window.
    pub(super) const fn window(&self) -> Window {
        Window::new(self.bucket, self.bucket.saturating_add(self.width.length()))
    }

    pub(super) fn encode(&self) -> [u8; KEY_LEN] {
        let (service, sample_type) = match self.subject {
            Subject::Rows { service, sample_type } => (service, sample_type),
            Subject::Ledgers => (u32::MAX, u32::MAX),
        };
        let mut key = [0; KEY_LEN];
        key[..9].copy_from_slice(&Self::start(self.width, self.bucket));
        key[9..13].copy_from_slice(&service.to_be_bytes());
        key[13..].copy_from_slice(&sample_type.to_be_bytes());
        key
    }

    pub(super) fn decode(key: &[u8]) -> Result<Self, Damaged> {
        let key: &[u8; KEY_LEN] = key.try_into().map_err(|_| Damaged)?;
        let word = |at: usize| u32::from_be_bytes([key[at], key[at + 1], key[at + 2], key[at + 3]]);
        let width = [Width::Minute, Width::Hour].into_iter().find(|width| code(*width) == key[0]).ok_or(Damaged)?;
        let bucket = Timestamp(u64::from(word(1)) << 32 | u64::from(word(5)));
        let subject = match (word(9), word(13)) {
            (u32::MAX, u32::MAX) => Subject::Ledgers,
            (service, sample_type) => Subject::Rows { service, sample_type },
        };
        Ok(Self { width, bucket, subject })
    }

    /// The keys of all buckets that start in a window.
    pub(super) fn range(width: Width, window: Window) -> std::ops::Range<[u8; 9]> {
        Self::start(width, window.from)..Self::start(width, window.to.max(window.from))
    }

    fn start(width: Width, bucket: Timestamp) -> [u8; 9] {
        let mut start = [code(width); 9];
        start[1..].copy_from_slice(&bucket.0.to_be_bytes());
        start
    }
}

const fn code(width: Width) -> u8 {
    match width {
        Width::Minute => 1,
        Width::Hour => 2,
    }
}

/// From which batch on a bucket lacks rows, and which batch touched it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lacks {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// All markers, as the one writer knows them.
pub(super) type Markers = BTreeMap<DirtyKey, Lacks>;

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys read back and sort by width and time.
    #[test]
    fn round_trips() {
        let at = Timestamp(1_764_000_123 * Timestamp::SECOND);
        for subject in [Subject::Ledgers, Subject::Rows { service: 3, sample_type: 0 }] {
            for width in [Width::Minute, Width::Hour] {
                let key = DirtyKey::of(width, at, subject);
                assert_eq!(DirtyKey::decode(&key.encode()), Ok(key));
                assert!(key.window().contains(at));
                let range = DirtyKey::range(width, key.window());
                assert!(range.start.as_slice() < key.encode().as_slice() && key.encode().as_slice() < range.end.as_slice());
            }
        }
        assert!(DirtyKey::decode(&[1; 5]).is_err() && DirtyKey::decode(&[9; KEY_LEN]).is_err());
    }
}
