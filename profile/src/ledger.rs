//! The ledger: samples taken = samples stored + samples lost, by reason; and what is to be known about those stored.

use crate::caveat::Caveat;

/// What the name of an entry that counts a caveat begins with: reasons and caveats may share a name.
const CAVEAT: &str = "caveat.";

/// Why a sample was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossReason {
    /// The kernel's ring was full (`PERF_RECORD_LOST`).
    RingFull,
    /// The kernel sent a record that could not be read.
    MalformedRecord,
    /// The configuration excludes the process.
    Excluded,
    /// The spool on the agent's disk was full; the oldest batch went first.
    SpoolFull,
    /// A batch in the spool could not be read back.
    SpoolCorrupt,
    /// The batch could not be written to the spool.
    SpoolUnwritable,
    /// The collector refused the batch for good.
    Refused,
    /// The kernel throttled the event of a CPU: so many samples would have been due, at most.
    Throttled,
    /// A CPU had come online and was not watched yet: so many samples would have been due, at most.
    UnwatchedCpu,
    /// A reason that this version does not know.
    Other,
}

impl LossReason {
    /// All reasons.
    pub const ALL: [Self; 10] = [
        Self::RingFull,
        Self::MalformedRecord,
        Self::Excluded,
        Self::SpoolFull,
        Self::SpoolCorrupt,
        Self::SpoolUnwritable,
        Self::Refused,
        Self::Throttled,
        Self::UnwatchedCpu,
        Self::Other,
    ];

    /// The reason's name, in snake case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::MalformedRecord => "malformed_record",
            Self::Excluded => "excluded",
            Self::SpoolFull => "spool_full",
            Self::SpoolCorrupt => "spool_corrupt",
            Self::SpoolUnwritable => "spool_unwritable",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::UnwatchedCpu => "unwatched_cpu",
            Self::Other => "other",
        }
    }

    /// The reason of a name; [`Self::Other`] for one that is not known.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name).unwrap_or(Self::Other)
    }
}

/// How many samples were taken and how many of them were lost, by reason. All counts are samples, not weights.
///
/// The invariant, end to end: `taken` = samples stored + [`Self::lost_total`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Samples that the kernel took, those it had no room for included.
    pub taken: u64,
    lost: [u64; LossReason::ALL.len()],
    noted: [u64; Caveat::ALL.len()],
}

impl Ledger {
    /// Nothing taken, nothing lost.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts samples that were taken and are kept.
    pub const fn take(&mut self, samples: u64) {
        self.taken = self.taken.saturating_add(samples);
    }

    /// Counts samples as lost that were counted as taken before.
    pub const fn lose(&mut self, reason: LossReason, samples: u64) {
        let count = &mut self.lost[reason as usize];
        *count = count.saturating_add(samples);
    }

    /// Samples lost for a reason.
    #[must_use]
    pub const fn lost(&self, reason: LossReason) -> u64 {
        self.lost[reason as usize]
    }

    /// Samples lost for any reason.
    #[must_use]
    pub fn lost_total(&self) -> u64 {
        self.lost.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The reasons that have a count.
    pub fn losses(&self) -> impl Iterator<Item = (LossReason, u64)> {
        LossReason::ALL.into_iter().map(|reason| (reason, self.lost(reason))).filter(|(_, count)| *count > 0)
    }

    /// Counts stored samples that a caveat holds for. A sample may have several.
    pub const fn note(&mut self, caveat: Caveat, samples: u64) {
        let count = &mut self.noted[caveat as usize];
        *count = count.saturating_add(samples);
    }

    /// Stored samples that a caveat holds for.
    #[must_use]
    pub const fn noted(&self, caveat: Caveat) -> u64 {
        self.noted[caveat as usize]
    }

    /// The caveats that have a count.
    pub fn caveats(&self) -> impl Iterator<Item = (Caveat, u64)> {
        Caveat::ALL.into_iter().map(|caveat| (caveat, self.noted(caveat))).filter(|(_, count)| *count > 0)
    }

    /// Every count but that of samples taken, by the name of its entry: that of the reason, or `caveat.` and that of the
    /// caveat. By name, so that what is stored or sent keeps its meaning when reasons are added.
    pub fn entries(&self) -> impl Iterator<Item = (String, u64)> {
        let losses = self.losses().map(|(reason, count)| (reason.as_str().to_owned(), count));
        losses.chain(self.caveats().map(|(caveat, count)| (format!("{CAVEAT}{}", caveat.as_str()), count)))
    }

    /// Adds a count under a name of [`Self::entries`]; one that is not known counts as the other reason or caveat.
    pub fn add_entry(&mut self, name: &str, count: u64) {
        match name.strip_prefix(CAVEAT) {
            Some(caveat) => self.note(Caveat::parse(caveat), count),
            None => self.lose(LossReason::parse(name), count),
        }
    }

    /// Adds another ledger.
    pub fn add(&mut self, other: &Self) {
        self.take(other.taken);
        for (reason, count) in other.losses() {
            self.lose(reason, count);
        }
        for (caveat, count) in other.caveats() {
            self.note(caveat, count);
        }
    }

    /// Whether nothing was taken and nothing lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Losses are kept by reason, add up, and every reason reads back from its name.
    #[test]
    fn losses_add_up() {
        let mut ledger = Ledger::new();
        ledger.take(10);
        ledger.lose(LossReason::RingFull, 2);
        let mut sum = ledger;
        ledger.note(Caveat::LowerFrequency, 3);
        sum.add(&ledger);
        assert_eq!((sum.taken, sum.lost_total(), sum.lost(LossReason::RingFull), sum.noted(Caveat::LowerFrequency)), (20, 4, 4, 3));
        for reason in LossReason::ALL {
            assert_eq!(LossReason::parse(reason.as_str()), reason);
        }
        for caveat in Caveat::ALL {
            assert_eq!(Caveat::parse(caveat.as_str()), caveat);
        }
    }

    /// Every count comes back from its entry, and a loss is no caveat though both may be called `other`.
    #[test]
    fn entries_round_trip() {
        let mut ledger = Ledger::new();
        for (count, reason) in (1..).zip(LossReason::ALL) {
            ledger.lose(reason, count);
        }
        for (count, caveat) in (100..).zip(Caveat::ALL) {
            ledger.note(caveat, count);
        }
        let mut read = Ledger::new();
        ledger.entries().for_each(|(name, count)| read.add_entry(&name, count));
        assert_eq!(read, ledger);
        read.add_entry("caveat.of_tomorrow", 1);
        assert_eq!((read.noted(Caveat::Other), read.lost_total()), (ledger.noted(Caveat::Other) + 1, ledger.lost_total()));
    }
}
