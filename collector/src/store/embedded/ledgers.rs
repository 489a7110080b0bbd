//! Ledgers: one per batch in the raw tier, one per agent and bucket in the derived ones.
//!
//! ```text
//! key    table u8 | start, ns u64 | batch ordinal u64, raw tier only        big endian
//! raw    window end, ns | labels of the agent | ledger | figures
//! bucket { labels of the agent, as their number in the slot | newest window end, ns | ledger | figures at that end, as bytes }*
//! ```
//! Buckets of minutes hold no figures. All integers of values are LEB128.

use std::collections::BTreeMap;

use flamekeeper_profile::{AgentFigures, Batch, Labels, Ledger, Timestamp};

use super::codec::{Damaged, Reader, put, put_bytes};
use super::records::{put_figures, put_labels, put_ledger, read_figures, read_labels, read_ledger, skip_labels};
use super::row::Table;

/// The key of a batch's ledger.
pub(super) fn ledger_key(from: Timestamp, ordinal: u64) -> Vec<u8> {
    [&ledger_bucket(from)[..], &ordinal.to_be_bytes()].concat()
}

/// The key of a bucket's ledgers.
pub(super) fn ledger_bucket(from: Timestamp) -> Vec<u8> {
    [&[Table::Ledgers as u8][..], &from.0.to_be_bytes()].concat()
}

/// The ordinal in the key of a batch's ledger.
pub(super) fn ledger_ordinal(key: &[u8]) -> Result<u64, Damaged> {
    key.get(9..).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes).ok_or(Damaged)
}

/// The start in the key of a ledger.
pub(super) fn ledger_start(key: &[u8]) -> Result<Timestamp, Damaged> {
    let start = key.get(1..9).and_then(|start| start.try_into().ok()).ok_or(Damaged)?;
    Ok(Timestamp(u64::from_be_bytes(start)))
}

/// What an agent took and lost in some time, and what it said of itself at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AgentLedger {
    /// End of the newest window.
    pub(super) to: Timestamp,
    pub(super) ledger: Ledger,
    pub(super) figures: AgentFigures,
}

impl AgentLedger {
    pub(super) fn add(&mut self, other: &Self) {
        self.ledger.add(&other.ledger);
        if other.to >= self.to {
            (self.to, self.figures) = (other.to, other.figures);
        }
    }
}

/// The ledger of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawLedger {
    pub(super) labels: Labels,
    pub(super) ledger: AgentLedger,
}

impl RawLedger {
    pub(super) fn of(batch: &Batch) -> Self {
        let ledger = AgentLedger { to: batch.window.to, ledger: batch.ledger, figures: batch.figures };
        Self { labels: batch.labels.clone(), ledger }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.ledger.to.0);
        put_labels(&mut out, &self.labels);
        put_ledger(&mut out, &self.ledger.ledger);
        put_figures(&mut out, &self.ledger.figures);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let raw = RawParts::of(bytes)?;
        Ok(Self { labels: read_labels(&mut Reader::new(raw.labels))?, ledger: raw.ledger(true)? })
    }
}

/// The ledger of a batch whose labels are not read: there are far more ledgers than agents.
pub(super) struct RawParts<'a> {
    to: Timestamp,
    /// As [`read_labels`] reads them.
    pub(super) labels: &'a [u8],
    rest: Reader<'a>,
}

impl<'a> RawParts<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let to = Timestamp(reader.number()?);
        let labels = skip_labels(&mut reader)?;
        Ok(Self { to, labels, rest: reader })
    }

    /// The ledger, with the figures where they are wanted.
    pub(super) fn ledger(mut self, figures: bool) -> Result<AgentLedger, Damaged> {
        let ledger = read_ledger(&mut self.rest)?;
        let figures = if figures { read_figures(&mut self.rest)? } else { AgentFigures::default() };
        Ok(AgentLedger { to: self.to, ledger, figures })
    }
}

/// Ledgers of a bucket by the number of the agent's labels.
pub(super) type BucketLedgers = BTreeMap<u32, AgentLedger>;

pub(super) fn encode_bucket(ledgers: &BucketLedgers, with_figures: bool) -> Vec<u8> {
    let (mut out, mut figures) = (Vec::new(), Vec::new());
    for (labels, ledger) in ledgers {
        put(&mut out, u64::from(*labels));
        put(&mut out, ledger.to.0);
        put_ledger(&mut out, &ledger.ledger);
        figures.clear();
        if with_figures {
            put_figures(&mut figures, &ledger.figures);
        }
        put_bytes(&mut out, &figures);
    }
    out
}

pub(super) fn decode_bucket(bytes: &[u8], visit: impl FnMut(u32, AgentLedger)) -> Result<(), Damaged> {
    decode_some(bytes, true, visit)
}

/// As [`decode_bucket`], with the figures where they are wanted.
pub(super) fn decode_some(bytes: &[u8], figures: bool, mut visit: impl FnMut(u32, AgentLedger)) -> Result<(), Damaged> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let labels = reader.small()?;
        let to = Timestamp(reader.number()?);
        let ledger = read_ledger(&mut reader)?;
        let told = reader.bytes()?;
        let figures = if figures { read_figures(&mut Reader::new(told))? } else { AgentFigures::default() };
        visit(labels, AgentLedger { to, ledger, figures });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use flamekeeper_profile::{Figure, LossReason};

    use super::*;

    /// Ledgers read back, of a batch and of a bucket; cut ones are damage; the newest figures win.
    #[test]
    fn round_trips() {
        let mut older = AgentLedger { to: Timestamp(7), ..AgentLedger::default() };
        older.ledger.take(5);
        older.ledger.lose(LossReason::RingFull, 2);
        older.figures.set(Figure::Processes, 3);
        let mut newer = AgentLedger { to: Timestamp(9), ..AgentLedger::default() };
        newer.figures.set(Figure::Processes, 4);
        let mut sum = newer.clone();
        sum.add(&older);
        assert_eq!((sum.to, sum.figures, sum.ledger.lost_total()), (newer.to, newer.figures, 2));
        let raw = RawLedger { labels: Labels::new().with("host", "a"), ledger: older.clone() };
        assert_eq!(RawLedger::decode(&raw.encode()), Ok(raw));
        let bucket = BucketLedgers::from([(1, older), (900, newer)]);
        let bytes = encode_bucket(&bucket, true);
        let mut read = BucketLedgers::new();
        decode_bucket(&bytes, |labels, ledger| read.extend([(labels, ledger)])).unwrap();
        assert_eq!(read, bucket);
        assert_eq!(decode_bucket(&bytes[..bytes.len() - 1], |_, _| ()), Err(Damaged));
        assert_eq!(ledger_ordinal(&ledger_key(Timestamp(3), 77)), Ok(77));
        assert_eq!(ledger_start(&ledger_bucket(Timestamp(3))), Ok(Timestamp(3)));
        assert_eq!(ledger_ordinal(&ledger_bucket(Timestamp(3))), Err(Damaged));
    }
}
