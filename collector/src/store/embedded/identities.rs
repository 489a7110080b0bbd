//! Which sequence numbers of one agent have been stored.
//!
//! An agent counts its batches by one, so what it sent is nearly always one run of numbers: kept exactly, as disjoint runs.
//! A gap stays where the agent gave a batch up (its spool was full). Beyond [`Seen::MAX_RUNS`] runs the lowest gap is
//! closed: its numbers count as stored. That errs on the side of "nothing twice", and an agent would have to come back
//! to a gap that it left 256 gaps ago.

use flamekeeper_profile::Timestamp;

use super::varint::{self, Malformed, Reader};

/// The numbers seen of one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// End of the newest window that it sent. An agent whose data is past retention is forgotten.
    pub(super) newest: Timestamp,
    /// Disjoint, not adjacent, ascending; both ends belong to the run.
    runs: Vec<(u64, u64)>,
}

/// What happened to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It was there.
    Duplicate,
    /// It is there now.
    New,
    /// It is there now, and so many older numbers count as seen from now on.
    NewAndClosed(u64),
}

impl Seen {
    /// The most runs that are kept.
    pub(super) const MAX_RUNS: usize = 256;

    /// Adds a number.
    pub(super) fn mark(&mut self, sequence: u64) -> Mark {
        // The first run that ends at the number or after it.
        let at = self.runs.partition_point(|(_, last)| *last < sequence);
        if self.runs.get(at).is_some_and(|(first, _)| *first <= sequence) {
            return Mark::Duplicate;
        }
        let joins_before = at > 0 && self.runs[at - 1].1.checked_add(1) == Some(sequence);
        let joins_after = self.runs.get(at).is_some_and(|(first, _)| sequence.checked_add(1) == Some(*first));
        match (joins_before, joins_after) {
            (true, true) => {
                let (_, last) = self.runs.remove(at);
                self.runs[at - 1].1 = last;
            }
            (true, false) => self.runs[at - 1].1 = sequence,
            (false, true) => self.runs[at].0 = sequence,
            (false, false) => self.runs.insert(at, (sequence, sequence)),
        }
        if self.runs.len() <= Self::MAX_RUNS {
            return Mark::New;
        }
        let (lowest, _) = self.runs.remove(0);
        let closed = self.runs[0].0;
        self.runs[0].0 = lowest;
        Mark::NewAndClosed(closed - lowest)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.runs.len() * 4);
        varint::put(&mut out, self.newest.0);
        varint::put(&mut out, self.runs.len() as u64);
        let mut previous = 0;
        for (first, last) in &self.runs {
            varint::put(&mut out, first - previous);
            varint::put(&mut out, last - first);
            previous = *last;
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let newest = Timestamp(reader.number()?);
        let count = reader.count()?;
        let mut runs = Vec::with_capacity(count);
        let mut previous: u64 = 0;
        for _ in 0..count {
            let first = previous.checked_add(reader.number()?).ok_or(Malformed)?;
            let last = first.checked_add(reader.number()?).ok_or(Malformed)?;
            runs.push((first, last));
            previous = last;
        }
        reader.end()?;
        Ok(Self { newest, runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the order, a number is new once, and the encoded form reads back.
    #[test]
    fn each_number_is_new_once() {
        let mut seen = Seen { newest: Timestamp(7), ..Seen::default() };
        let mut order: Vec<u64> = (0..200).map(|i| i * 37 % 200).collect();
        order.extend([u64::MAX, u64::MAX - 1]);
        for number in &order {
            assert_eq!(seen.mark(*number), Mark::New, "{number}");
            assert_eq!(seen.mark(*number), Mark::Duplicate, "{number}");
            assert_eq!(Seen::decode(&seen.encode()).unwrap(), seen);
        }
        assert_eq!(seen.runs, [(0, 199), (u64::MAX - 1, u64::MAX)]);
        assert!(seen.encode().len() < 32);
    }

    /// Many gaps stay bounded: the lowest is closed, and what was stored stays a duplicate.
    #[test]
    fn gaps_are_bounded() {
        let mut seen = Seen::default();
        for number in (0..2000).step_by(2) {
            seen.mark(number);
        }
        assert_eq!(seen.runs.len(), Seen::MAX_RUNS);
        assert!((0..2000).step_by(2).all(|number| seen.mark(number) == Mark::Duplicate));
        assert_eq!((seen.mark(1), seen.mark(1999)), (Mark::Duplicate, Mark::New));
    }

    /// Damaged bytes are refused.
    #[test]
    fn refuses_damage() {
        for bytes in [&b""[..], b"\x01", b"\x01\x02\x03\x04", b"\x01\x00\x00"] {
            assert_eq!(Seen::decode(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}
