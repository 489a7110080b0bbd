//! The executable mappings of one process.

use std::sync::Arc;

use flamekeeper_profile::{Avma, FileOffset};

use crate::process::file::File;
use crate::unwind::Resolved;

/// Mappings of one process beyond which new ones are not taken up: far more than a program that lives has
/// (`vm.max_map_count` is 65530 by default), and a bound for one that means harm.
const MAX_MAPPINGS: usize = 65_536;

/// What a mapping holds.
#[derive(Clone, Debug)]
pub(crate) enum Backing {
    /// Code of a file.
    File(Arc<File>),
    /// The kernel's own code for user space.
    Vdso,
    /// Memory that the process itself fills with code.
    Anonymous,
}

/// An executable mapping: `[start, end)`.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    /// First address.
    pub(crate) start: Avma,
    /// First address after it.
    pub(crate) end: Avma,
    /// Where in the file it starts.
    pub(crate) offset: FileOffset,
    /// What it holds.
    pub(crate) backing: Backing,
    /// What the unwinder found out about it.
    pub(crate) resolved: Resolved,
}

impl Mapping {
    /// A mapping that the unwinder has not looked at; none for an empty or impossible range.
    pub(crate) fn new(start: Avma, length: u64, offset: FileOffset, backing: Backing) -> Option<Self> {
        let end = Avma(start.0.checked_add(length)?);
        (length > 0).then_some(Self { start, end, offset, backing, resolved: Resolved::Unknown })
    }

    fn is_anonymous(&self) -> bool {
        matches!(self.backing, Backing::Anonymous)
    }
}

/// Executable mappings by address, none overlapping another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Maps {
    sorted: Vec<Mapping>,
    /// Grows with every change.
    version: u64,
}

impl Maps {
    /// Takes up a mapping, over whatever was there: the kernel tells of no unmapping, only of what comes in its place.
    /// Returns whether there was room.
    pub(crate) fn insert(&mut self, mut new: Mapping) -> bool {
        let mut at = self.sorted.partition_point(|old| old.end <= new.start);
        if self.sorted.len() >= MAX_MAPPINGS {
            return false;
        }
        self.version += 1;
        let mut tail = None;
        let mut overlapped = at;
        while let Some(old) = self.sorted.get(overlapped).filter(|old| old.start < new.end) {
            if old.end > new.end {
                tail = Some(cut_front(old, new.end));
            }
            overlapped += 1;
        }
        let front = self.sorted.get(at).filter(|old| at < overlapped && old.start < new.start).map(|old| cut_back(old, new.start));
        self.sorted.drain(at..overlapped);
        for piece in [front, tail].into_iter().flatten() {
            if new.is_anonymous() && piece.is_anonymous() {
                (new.start, new.end) = (new.start.min(piece.start), new.end.max(piece.end));
            } else {
                self.sorted.insert(at, piece);
                at = self.sorted.partition_point(|old| old.end <= new.start);
            }
        }
        self.sorted.insert(at, new);
        self.join_anonymous(at);
        true
    }

    /// Puts others in the place of all.
    pub(crate) fn replace(&mut self, others: Self) {
        let version = self.version + others.version + 1;
        *self = Self { version, ..others };
    }

    /// A number that a process's mappings had at no other time, unless they are the same as then.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// Makes one of anonymous neighbours, so that a compiler that maps page by page stays one mapping.
    fn join_anonymous(&mut self, at: usize) {
        for left in [at, at.wrapping_sub(1)] {
            let Some([a, b]) = left.checked_add(2).and_then(|end| self.sorted.get(left..end)) else { continue };
            if a.is_anonymous() && b.is_anonymous() && a.end == b.start {
                let end = b.end;
                self.sorted[left].end = end;
                self.sorted.remove(left + 1);
            }
        }
    }

    /// The mapping that an address lies in.
    pub(crate) fn find(&mut self, address: Avma) -> Option<&mut Mapping> {
        let at = self.sorted.partition_point(|mapping| mapping.end <= address);
        self.sorted.get_mut(at).filter(|mapping| mapping.start <= address)
    }

    /// As [`Self::find`], to look at only.
    pub(crate) fn get(&self, address: Avma) -> Option<&Mapping> {
        let at = self.sorted.partition_point(|mapping| mapping.end <= address);
        self.sorted.get(at).filter(|mapping| mapping.start <= address)
    }

    /// All mappings, by address.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.sorted.iter()
    }

    /// All mappings, by address. Their ranges must stay what they are.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Mapping> {
        self.sorted.iter_mut()
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

fn cut_front(mapping: &Mapping, start: Avma) -> Mapping {
    let offset = FileOffset(mapping.offset.0.wrapping_add(start.0 - mapping.start.0));
    // The address bias stays what it was: both ends of the sum have moved alike.
    Mapping { start, offset, ..mapping.clone() }
}

fn cut_back(mapping: &Mapping, end: Avma) -> Mapping {
    Mapping { end, ..mapping.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::file::{FileKey, Files};

    fn file(start: u64, length: u64, offset: u64, path: &str) -> Mapping {
        let file = Files::default().intern(FileKey::Inode { device: (0, 0), inode: 1 }, path);
        Mapping::new(Avma(start), length, FileOffset(offset), Backing::File(file)).unwrap()
    }

    fn anonymous(start: u64, length: u64) -> Mapping {
        Mapping::new(Avma(start), length, FileOffset(0), Backing::Anonymous).unwrap()
    }

    fn shape(maps: &Maps) -> Vec<(u64, u64, u64, String)> {
        let name = |mapping: &Mapping| match &mapping.backing {
            Backing::File(file) => file.path.to_string(),
            Backing::Vdso => "vdso".to_owned(),
            Backing::Anonymous => "anon".to_owned(),
        };
        maps.iter().map(|mapping| (mapping.start.0, mapping.end.0, mapping.offset.0, name(mapping))).collect()
    }

    /// A mapping inside another leaves both sides of the old one, with their file offsets.
    #[test]
    fn new_mapping_splits_an_old_one() {
        let mut maps = Maps::default();
        maps.insert(file(0x1000, 0x4000, 0x100_000, "a"));
        maps.insert(file(0x2000, 0x1000, 0, "b"));
        let expected = [(0x1000, 0x2000, 0x100_000, "a"), (0x2000, 0x3000, 0, "b"), (0x3000, 0x5000, 0x102_000, "a")];
        assert_eq!(shape(&maps), expected.map(|(start, end, offset, name)| (start, end, offset, name.to_owned())));
        assert!(maps.find(Avma(0x2fff)).is_some_and(|mapping| mapping.start == Avma(0x2000)));
        assert!(maps.find(Avma(0x5000)).is_none() && maps.find(Avma(0xfff)).is_none());
    }

    /// A mapping over several swallows them, and cuts those at its edges.
    #[test]
    fn new_mapping_swallows_old_ones() {
        let mut maps = Maps::default();
        for start in [0x1000, 0x2000, 0x3000, 0x4000] {
            maps.insert(file(start, 0x1000, start, "a"));
        }
        maps.insert(file(0x1800, 0x2000, 0, "b"));
        let shape: Vec<_> = shape(&maps).into_iter().map(|(start, end, offset, _)| (start, end, offset)).collect();
        assert_eq!(shape, [(0x1000, 0x1800, 0x1000), (0x1800, 0x3800, 0), (0x3800, 0x4000, 0x3800), (0x4000, 0x5000, 0x4000)]);
    }

    /// Anonymous neighbours become one, in whatever order they come, and when they overlap.
    #[test]
    fn anonymous_neighbours_join() {
        let mut maps = Maps::default();
        for (start, length) in [(0x1000, 0x1000), (0x3000, 0x1000), (0x2000, 0x1000), (0x1800, 0x1000), (0x3800, 0x1000)] {
            maps.insert(anonymous(start, length));
        }
        assert_eq!(shape(&maps), [(0x1000, 0x4800, 0, "anon".to_owned())]);
    }

    /// Random insertions never leave overlaps or disorder, and an address belongs to the last mapping laid over it.
    #[test]
    fn random_insertions_keep_order() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut maps = Maps::default();
        let mut truth = vec![None; 64];
        for round in 0..2000 {
            let (start, length) = (random(60), random(4) + 1);
            let backing = random(3);
            let mapping = match backing {
                0 => anonymous(start, length),
                _ => file(start, length, start, if backing == 1 { "a" } else { "b" }),
            };
            maps.insert(mapping);
            for place in start..start + length {
                truth[usize::try_from(place).unwrap()] = Some(backing);
            }
            let mut end = 0;
            for mapping in maps.iter() {
                assert!(mapping.start.0 >= end && mapping.start < mapping.end, "round {round}: {:?}", shape(&maps));
                end = mapping.end.0;
            }
            for (place, expected) in truth.iter().enumerate() {
                let found = maps.find(Avma(place as u64)).map(|mapping| match &mapping.backing {
                    Backing::Anonymous => 0,
                    Backing::File(file) if &*file.path == "a" => 1,
                    _ => 2,
                });
                assert_eq!(found, *expected, "round {round}, address {place}");
            }
        }
    }
}
