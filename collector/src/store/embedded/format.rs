//! Keys and codes as they stand on disk. See the parent module for the whole layout.

use flamekeeper_profile::{BuildIdKind, StackEnd, StopReason, Timestamp};

/// The version of the layout that this program reads and writes.
pub(super) const VERSION: u64 = 1;

/// The keyspace of what outlives partitions.
pub(super) const META: &str = "meta";
/// In [`META`]: the layout's version.
pub(super) const KEY_VERSION: &[u8] = b"version";
/// In [`META`]: totals since the store was made.
pub(super) const KEY_TOTALS: &[u8] = b"totals";
/// In [`META`]: first byte of the keys of agents.
pub(super) const TAG_AGENT: u8 = b'i';

/// In a partition: first byte of catalog segments.
pub(super) const TAG_CATALOG: u8 = b'c';
/// In a partition: first byte of dictionary segments.
pub(super) const TAG_DICTIONARY: u8 = b'd';
/// In a partition: first byte of ledgers.
pub(super) const TAG_LEDGER: u8 = b'l';
/// In a partition: first byte of rows.
pub(super) const TAG_ROWS: u8 = b'r';

/// A span of time whose data is kept, read and dropped together: six hours, counted from the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PartitionNumber(pub(super) u64);

impl PartitionNumber {
    /// Nanoseconds in a partition.
    pub(super) const LENGTH: u64 = 6 * 3600 * Timestamp::SECOND;

    pub(super) const fn of(at: Timestamp) -> Self {
        Self(at.0 / Self::LENGTH)
    }

    /// The first instant after it.
    pub(super) const fn end(self) -> Timestamp {
        Timestamp(self.0.saturating_add(1).saturating_mul(Self::LENGTH))
    }

    pub(super) fn keyspace_name(self) -> String {
        format!("raw-{}", self.0)
    }

    pub(super) fn parse_keyspace_name(name: &str) -> Option<Self> {
        name.strip_prefix("raw-")?.parse().ok().map(Self)
    }
}

/// A service of a partition: the place of its name in the catalog's strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ServiceId(pub(super) u32);

/// The number of a batch, from 0, in the order of storing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchNumber(pub(super) u64);

pub(super) fn agent_key(agent: &str) -> Vec<u8> {
    [&[TAG_AGENT], agent.as_bytes()].concat()
}

pub(super) fn catalog_key(batch: BatchNumber) -> Vec<u8> {
    [&[TAG_CATALOG][..], &batch.0.to_be_bytes()].concat()
}

pub(super) fn dictionary_prefix(service: ServiceId) -> Vec<u8> {
    [&[TAG_DICTIONARY][..], &service.0.to_be_bytes()].concat()
}

pub(super) fn dictionary_key(service: ServiceId, batch: BatchNumber) -> Vec<u8> {
    [&dictionary_prefix(service)[..], &batch.0.to_be_bytes()].concat()
}

/// With no batch: the bound before all batches of that window start.
pub(super) fn ledger_key(start: Timestamp, batch: Option<BatchNumber>) -> Vec<u8> {
    let mut key = [&[TAG_LEDGER][..], &start.0.to_be_bytes()].concat();
    key.extend(batch.iter().flat_map(|batch| batch.0.to_be_bytes()));
    key
}

/// With no batch: the bound before all batches of that window start.
pub(super) fn rows_key(service: ServiceId, start: Timestamp, batch: Option<BatchNumber>) -> Vec<u8> {
    let mut key = [&[TAG_ROWS][..], &service.0.to_be_bytes(), &start.0.to_be_bytes()].concat();
    key.extend(batch.iter().flat_map(|batch| batch.0.to_be_bytes()));
    key
}

/// The window start in a key of rows.
pub(super) fn start_of_rows(key: &[u8]) -> Option<Timestamp> {
    let bytes = key.get(5..13).filter(|_| key.len() == 21)?;
    bytes.try_into().ok().map(|bytes| Timestamp(u64::from_be_bytes(bytes)))
}

/// The window start in a key of a ledger.
pub(super) fn start_of_ledger(key: &[u8]) -> Option<Timestamp> {
    let bytes = key.get(1..9).filter(|_| key.len() == 17)?;
    bytes.try_into().ok().map(|bytes| Timestamp(u64::from_be_bytes(bytes)))
}

pub(super) const fn end_code(end: StackEnd) -> u8 {
    match end {
        StackEnd::Root => 0,
        StackEnd::Unstated => 1,
        StackEnd::Truncated(StopReason::CopyExhausted) => 2,
        StackEnd::Truncated(StopReason::NoMapping) => 3,
        StackEnd::Truncated(StopReason::NoUnwindInfo) => 4,
        StackEnd::Truncated(StopReason::BadFrame) => 5,
        StackEnd::Truncated(StopReason::DepthLimit) => 6,
        StackEnd::Truncated(StopReason::UnreadableObject) => 7,
        StackEnd::Truncated(StopReason::NoUserStack) => 8,
    }
}

pub(super) fn end_of_code(code: u8) -> Option<StackEnd> {
    let truncated = StopReason::ALL.into_iter().map(StackEnd::Truncated);
    [StackEnd::Root, StackEnd::Unstated].into_iter().chain(truncated).find(|end| end_code(*end) == code)
}

pub(super) const fn build_id_code(kind: BuildIdKind) -> u8 {
    match kind {
        BuildIdKind::Gnu => 1,
        BuildIdKind::Go => 2,
        BuildIdKind::Htlhash => 3,
    }
}

pub(super) fn build_id_of_code(code: u8) -> Option<BuildIdKind> {
    [BuildIdKind::Gnu, BuildIdKind::Go, BuildIdKind::Htlhash].into_iter().find(|kind| build_id_code(*kind) == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys sort by service, then window, then batch, and a bound without a batch comes before all of its window.
    #[test]
    fn keys_sort_by_service_and_window() {
        let key = |service, start, batch| rows_key(ServiceId(service), Timestamp(start), batch);
        let sorted = [
            key(1, 5, None),
            key(1, 5, Some(BatchNumber(0))),
            key(1, 5, Some(BatchNumber(300))),
            key(1, 256, Some(BatchNumber(1))),
            key(2, 1, None),
        ];
        assert!(sorted.is_sorted());
        assert_eq!(start_of_rows(&sorted[3]), Some(Timestamp(256)));
        assert_eq!(start_of_rows(&sorted[4]), None);
    }

    /// Codes read back.
    #[test]
    fn codes_round_trip() {
        for code in 0..=8 {
            assert_eq!(end_of_code(code).map(end_code), Some(code));
        }
        assert_eq!(end_of_code(9), None);
        for code in 1..=3 {
            assert_eq!(build_id_of_code(code).map(build_id_code), Some(code));
        }
    }
}
