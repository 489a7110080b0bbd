//! Time order across rings, without copying a record.
//!
//! Each CPU's ring is in time order by itself (but for an interrupt that falls into the writing of a record: see below).
//! [`Merge`] is told the time of each ring's oldest record and says which ring is next.
//!
//! **Guarantee.** Let a round begin at time `t` (read before the rings' write positions are). Every record with a time up
//! to `t - GRACE` is in its ring by then, because the kernel takes a record's time and publishes the record within one
//! section that cannot be preempted, microseconds apart. So if a round emits records up to the limit `t - GRACE` and leaves
//! younger ones in their rings, the records of all rounds together come in order of time: a mapping before the samples that
//! lie in it, the end of a process after its last sample.
//!
//! What breaks it, and what then happens: a virtual CPU that its host stops for longer than [`GRACE_NS`] in the middle of
//! that section publishes its record late; and an interrupt in the middle of it puts a younger record before an older one
//! in the same ring. Such a record is emitted as soon as it is seen and counted in [`Merge::late`]; nothing is lost.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How far a round stays behind the present, in nanoseconds.
pub(crate) const GRACE_NS: u64 = 10_000_000;

/// Merges the heads of several rings by time.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    last: u64,
    late: u64,
}

impl Merge {
    /// A merge over nothing.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Forgets all heads, at the start of a round.
    pub(crate) fn begin(&mut self) {
        self.heads.clear();
    }

    /// Tells the time of the oldest record of a ring that has none in the merge.
    pub(crate) fn offer(&mut self, ring: usize, time: u64) {
        self.heads.push(Reverse((time, ring)));
    }

    /// The ring whose oldest record is next and not younger than `limit`, and that record's time. The caller takes the
    /// record and offers the ring's next.
    pub(crate) fn next(&mut self, limit: u64) -> Option<(usize, u64)> {
        let Reverse((time, ring)) = *self.heads.peek()?;
        if time > limit {
            return None;
        }
        self.heads.pop();
        if time < self.last {
            self.late = self.late.saturating_add(1);
        }
        self.last = self.last.max(time);
        Some((ring, time))
    }

    /// Records that came after a younger one, since the start.
    pub(crate) const fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(merge: &mut Merge, rings: &mut [Vec<u64>], limit: u64) -> Vec<u64> {
        merge.begin();
        for (ring, records) in rings.iter().enumerate() {
            if let Some(time) = records.first() {
                merge.offer(ring, *time);
            }
        }
        let mut out = Vec::new();
        while let Some((ring, time)) = merge.next(limit) {
            assert_eq!(rings[ring].remove(0), time);
            out.push(time);
            if let Some(time) = rings[ring].first() {
                merge.offer(ring, *time);
            }
        }
        out
    }

    /// Records of three rings come in order of time, over two rounds, none twice, none missing.
    #[test]
    fn merges_rings_in_order() {
        let mut rings = [vec![1, 4, 9], vec![2, 3, 30], vec![]];
        let mut merge = Merge::new();
        assert_eq!(drain(&mut merge, &mut rings, 8), [1, 2, 3, 4]);
        rings[2].push(10);
        assert_eq!(drain(&mut merge, &mut rings, 100), [9, 10, 30]);
        assert_eq!(merge.late(), 0);
    }

    /// A record that shows up behind the limit already reached is emitted and counted.
    #[test]
    fn late_record_is_emitted_and_counted() {
        let mut merge = Merge::new();
        assert_eq!(drain(&mut merge, &mut [vec![5, 9]], 20), [5, 9]);
        assert_eq!(drain(&mut merge, &mut [vec![7, 12]], 20), [7, 12]);
        assert_eq!(merge.late(), 1);
    }
}
