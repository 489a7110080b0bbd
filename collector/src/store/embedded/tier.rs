//! The tiers: how wide their buckets are, and in which slots of time they lie on disk.

use flamekeeper_profile::{Timestamp, Window};

use super::codec::{Damaged, Reader};

/// Nanoseconds.
pub(in crate::store) const MINUTE: u64 = 60 * Timestamp::SECOND;
pub(in crate::store) const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// What a keyspace of a slot holds. A slot is a span of time that is deleted as a whole; slots of all kinds are aligned to
/// the epoch, and each lies within one of [`Kind::Words`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::store) enum Kind {
    /// Rows per series and window as they came, and the ledgers of batches.
    Raw,
    /// Rows per service, version and type of a minute, and ledgers per agent.
    Minute,
    /// The same of an hour, and rows per series of an hour.
    Hour,
    /// The dictionaries that the rows of that time refer to.
    Words,
    /// Identities of batches whose window starts in that time.
    Batches,
}

impl Kind {
    pub(in crate::store) const ALL: [Self; 5] = [Self::Raw, Self::Minute, Self::Hour, Self::Words, Self::Batches];

    /// Length of a slot in nanoseconds.
    pub(in crate::store) const fn slot_length(self) -> u64 {
        match self {
            Self::Raw => 3 * HOUR,
            Self::Minute | Self::Batches => DAY,
            Self::Hour | Self::Words => 7 * DAY,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Words => "words",
            Self::Batches => "batches",
        }
    }
}

/// A kind and which slot of it. In the order of time within a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::store) struct Slot {
    pub(in crate::store) kind: Kind,
    number: u64,
}

impl Slot {
    /// The slot that an instant lies in.
    pub(in crate::store) const fn of(kind: Kind, at: Timestamp) -> Self {
        Self { kind, number: at.0 / kind.slot_length() }
    }

    pub(in crate::store) const fn window(self) -> Window {
        let length = self.kind.slot_length();
        let from = self.number.saturating_mul(length);
        Window::new(Timestamp(from), Timestamp(from.saturating_add(length)))
    }

    /// The name of its keyspace.
    pub(in crate::store) fn keyspace(self) -> String {
        format!("{}-{}", self.kind.name(), self.number)
    }

    /// The slot of a keyspace's name; none for a keyspace that is no slot's.
    pub(in crate::store) fn parse(keyspace: &str) -> Option<Self> {
        let (name, number) = keyspace.split_once('-')?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
        let slot = Self { kind, number: number.parse().ok()? };
        (slot.keyspace() == keyspace).then_some(slot)
    }
}

/// The width of a derived tier's buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::store) enum Width {
    Minute,
    Hour,
}

impl Width {
    /// In nanoseconds.
    pub(in crate::store) const fn length(self) -> u64 {
        match self {
            Self::Minute => MINUTE,
            Self::Hour => HOUR,
        }
    }

    /// Where its buckets lie.
    pub(in crate::store) const fn kind(self) -> Kind {
        match self {
            Self::Minute => Kind::Minute,
            Self::Hour => Kind::Hour,
        }
    }

    pub(in crate::store) const fn bucket(self, at: Timestamp) -> Timestamp {
        at.align_down(self.length())
    }
}

/// From when on each tier is kept. What is older may be there in part and is not read from that tier; it is in the coarser
/// ones. `hour <= minute <= raw`, each at the edge of a slot of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Floors {
    pub(in crate::store) raw: Timestamp,
    pub(in crate::store) minute: Timestamp,
    pub(in crate::store) hour: Timestamp,
}

impl Floors {
    /// Floors are never lowered, and a finer tier's is not below a coarser one's.
    pub(in crate::store) fn raise(&mut self, to: &Self) {
        self.hour = self.hour.max(to.hour);
        self.minute = self.minute.max(to.minute).max(self.hour);
        self.raw = self.raw.max(to.raw).max(self.minute);
    }

    /// The floor of what slots of a kind hold.
    pub(in crate::store) const fn of(&self, kind: Kind) -> Timestamp {
        match kind {
            Kind::Raw | Kind::Batches => self.raw,
            Kind::Minute => self.minute,
            Kind::Hour | Kind::Words => self.hour,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        [self.raw, self.minute, self.hour].into_iter().for_each(|floor| super::codec::put(&mut out, floor.0));
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let mut next = || Ok(Timestamp(reader.number()?));
        Ok(Self { raw: next()?, minute: next()?, hour: next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots nest in those of the dictionaries, read back from their names, and foreign names are no slots.
    #[test]
    fn slots_nest() {
        for kind in Kind::ALL {
            assert!(Kind::Words.slot_length().is_multiple_of(kind.slot_length()));
            for at in [0, 1, DAY * 20_000 + 5, u64::MAX] {
                let slot = Slot::of(kind, Timestamp(at));
                assert_eq!(Slot::parse(&slot.keyspace()), Some(slot));
                assert!(slot.window().from.0 <= at && at <= slot.window().to.0);
            }
        }
        for foreign in ["meta", "raw", "raw-", "raw-01", "raw--1", "dust-1"] {
            assert_eq!(Slot::parse(foreign), None, "{foreign}");
        }
    }

    /// Floors rise only, and pull the finer ones with them.
    #[test]
    fn floors_rise() {
        let mut floors = Floors { raw: Timestamp(5), minute: Timestamp(3), hour: Timestamp(1) };
        floors.raise(&Floors { raw: Timestamp(4), minute: Timestamp(7), hour: Timestamp(2) });
        assert_eq!(floors, Floors { raw: Timestamp(7), minute: Timestamp(7), hour: Timestamp(2) });
        assert_eq!(Floors::decode(&floors.encode()), Ok(floors));
    }
}
