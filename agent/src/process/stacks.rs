//! Which memory of a process is one mapping and which is not: tells one stack from another.
//!
//! Asked only when a frame lies outside of the stack that was copied, and read from procfs at most once in a while.

use flamekeeper_profile::Avma;

use crate::process::lines;

/// How long what was read is taken for true, in nanoseconds.
const READ_EVERY: u64 = 1_000_000_000;
/// Mappings of one process that are looked at: see [`crate::process::maps`].
const MAX_MAPPINGS: usize = 65_536;

/// How two addresses lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Neighbours {
    /// In one writable mapping.
    Same,
    /// In two writable mappings.
    Different,
    /// One of them is in no writable mapping.
    Unmapped,
    /// It cannot be told: the process is gone, or its mappings have changed since they were read.
    Unknown,
}

/// The writable mappings of a process.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    /// By address: `[start, end)`.
    writable: Box<[(u64, u64)]>,
    read: Option<u64>,
}

impl Stacks {
    /// How `other` lies to `stack`, an address in the stack of a running thread of process `pid` at `now`.
    pub(crate) fn neighbours(&mut self, pid: u32, now: u64, stack: Avma, other: Avma) -> Neighbours {
        let known = self.told(stack, other);
        let due = self.read.is_none_or(|read| now.saturating_sub(read) > READ_EVERY);
        if !due || matches!(known, Neighbours::Same | Neighbours::Different) {
            return known;
        }
        self.read = Some(now);
        self.writable = writable(pid);
        self.told(stack, other)
    }

    fn told(&self, stack: Avma, other: Avma) -> Neighbours {
        match (self.of(stack), self.of(other)) {
            (None, _) => Neighbours::Unknown,
            (Some(_), None) => Neighbours::Unmapped,
            (Some(a), Some(b)) if a == b => Neighbours::Same,
            _ => Neighbours::Different,
        }
    }

    fn of(&self, address: Avma) -> Option<usize> {
        let at = self.writable.partition_point(|(_, end)| *end <= address.0);
        self.writable.get(at).filter(|(start, _)| *start <= address.0).map(|_| at)
    }
}

fn writable(pid: u32) -> Box<[(u64, u64)]> {
    let mut found = Vec::new();
    // Of what cannot be read nothing is known.
    _ = lines::each(pid, |line| {
        if line.is_writable() && found.len() < MAX_MAPPINGS {
            found.push((line.start, line.end));
        }
    });
    found.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<T>(value: &T) -> Avma {
        Avma(std::ptr::from_ref(value) as u64)
    }

    /// This thread's stack is one mapping, another thread's is another, and code is none.
    #[test]
    fn stacks_of_this_process() {
        let here = 0_u64;
        let other = std::thread::scope(|scope| {
            let look = || {
                let mine = 0_u64;
                let mut stacks = Stacks::default();
                let code = Avma(stacks_of_this_process as fn() as usize as u64);
                let pid = std::process::id();
                (stacks.neighbours(pid, 1, at(&mine), at(&here)), stacks.neighbours(pid, 2, at(&mine), code))
            };
            scope.spawn(look).join().unwrap()
        });
        assert_eq!(other, (Neighbours::Different, Neighbours::Unmapped));
        let other_place = [0_u64; 4];
        let mut stacks = Stacks::default();
        assert_eq!(stacks.neighbours(std::process::id(), 1, at(&here), at(&other_place)), Neighbours::Same);
        // Above the greatest process id there can be.
        assert_eq!(Stacks::default().neighbours(5_000_003, 1, at(&here), at(&other_place)), Neighbours::Unknown);
    }
}
