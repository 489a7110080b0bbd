//! A process's levels from one reading to the next, summed over the time of each window.
//!
//! **Guarantee.** Windows that follow each other without gap get, together, the whole sum: between two readings a level goes in a
//! straight line, before the first and after the last it stays. A reading that came after a window's edge says what was before it.

use std::sync::Arc;

use flamekeeper_profile::memory::{MemoryEvent, MemoryKind};

use crate::identity::Named;

/// Readings that are kept for one process: more than a window has, but where windows are long.
const MAX_READINGS: usize = 64;

/// Levels in bytes, by the place of the kind in [`MemoryKind::ALL`]; none where it is not known (yet).
pub(crate) type Levels = [Option<u64>; MemoryKind::ALL.len()];
/// Bytes times nanoseconds, likewise.
pub(crate) type Sums = [u128; MemoryKind::ALL.len()];

/// How often something happened, or for how many nanoseconds, by the place of the kind in [`MemoryEvent::ALL`].
pub(crate) type Events = [u64; MemoryEvent::ALL.len()];

/// What the thread tells that reads.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// Levels of a process.
    Process(Reading),
    /// Levels of a cgroup, by its path, and what happened in it. The reading's process is its largest.
    Cgroup(Arc<str>, Reading, Events),
    /// A cgroup is no more, or nobody is in it.
    Gone(Arc<str>),
    /// What happened on the host.
    Host(Events),
}

/// Levels of a process, or of a cgroup, at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) pid: u32,
    /// On the clock of samples, in nanoseconds.
    pub(crate) at: u64,
    pub(crate) levels: Levels,
}

/// A program in a process.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// The generation of the process; 0 where that is not known.
    pub(crate) generation: u64,
    /// Whose it is, once known.
    pub(crate) named: Option<Arc<Named>>,
    /// When it began; 0: before anybody looked.
    pub(crate) born: u64,
    /// When it ended.
    pub(crate) ended: Option<u64>,
    /// In order of time.
    readings: Vec<Reading>,
}

impl Account {
    /// One of a process that was read for the first time.
    pub(crate) fn new(generation: u64, born: u64, first: Reading) -> Self {
        Self { generation, named: None, born, ended: None, readings: vec![first] }
    }

    /// Adds a reading; one that is not later than the last is passed over.
    pub(crate) fn read(&mut self, reading: Reading) {
        if self.readings.last().is_some_and(|last| last.at >= reading.at) {
            return;
        }
        if self.readings.len() >= MAX_READINGS {
            // Every second one goes: the line between the others is all that is lost.
            let mut place = 0;
            self.readings.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
        self.readings.push(reading);
    }

    /// When it was read last.
    pub(crate) fn last(&self) -> u64 {
        self.readings.last().map_or(0, |last| last.at)
    }

    /// The levels' sums over `[from, to)`, as far as the process lived in it.
    pub(crate) fn sums(&self, from: u64, to: u64) -> Sums {
        let (from, to) = (from.max(self.born), self.ended.map_or(to, |ended| to.min(ended)));
        let mut sums = Sums::default();
        for (sum, kind) in sums.iter_mut().zip(MemoryKind::ALL) {
            let points = self.readings.iter().filter_map(|reading| Some((reading.at, reading.levels[kind as usize]?)));
            *sum = integral(points, from, to);
        }
        sums
    }

    /// Forgets what no window from `to` on needs.
    pub(crate) fn settle(&mut self, to: u64) {
        let before = self.readings.iter().take_while(|reading| reading.at <= to).count();
        self.readings.drain(..before.saturating_sub(1));
    }
}

/// The integral of a line through points over `[from, to)`; level before the first and after the last.
fn integral(points: impl Iterator<Item = (u64, u64)>, from: u64, to: u64) -> u128 {
    let flat = |from: u64, to: u64, level: u64| u128::from(to.saturating_sub(from)) * u128::from(level);
    let mut sum = 0;
    let mut before: Option<(u64, u64)> = None;
    for (at, level) in points {
        sum += match before {
            None => flat(from, to.min(at), level),
            Some(before) => sloped(before, (at, level), from, to),
        };
        before = Some((at, level));
    }
    before.map_or(0, |(at, level)| sum + flat(from.max(at), to, level))
}

/// The part of a line between two points that lies in `[from, to)`.
fn sloped((start, first): (u64, u64), (end, last): (u64, u64), from: u64, to: u64) -> u128 {
    let (from, to) = (from.max(start), to.min(end));
    if from >= to {
        return 0;
    }
    let share = |at: u64| (at - start) as f64 / (end - start) as f64;
    let middle = f64::midpoint(share(from), share(to));
    let level = first as f64 + (last as f64 - first as f64) * middle;
    // Not negative: it lies between two levels. `as` saturates.
    (level * (to - from) as f64) as u128
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: u64, bytes: u64) -> Reading {
        let mut levels = Levels::default();
        levels[MemoryKind::Resident as usize] = Some(bytes);
        Reading { pid: 7, at, levels }
    }

    fn resident(account: &Account, from: u64, to: u64) -> u128 {
        account.sums(from, to)[MemoryKind::Resident as usize]
    }

    /// Straight between readings, level outside of them, nothing before the birth or after the end, and nothing of what is unknown.
    #[test]
    fn one_window() {
        let mut account = Account::new(1, 0, reading(100, 10));
        assert_eq!(resident(&account, 0, 200), 2000);
        account.read(reading(200, 30));
        account.read(reading(150, 1_000_000));
        assert_eq!(resident(&account, 100, 200), 2000);
        assert_eq!(resident(&account, 150, 200), 1250);
        assert_eq!(resident(&account, 0, 300), 1000 + 2000 + 3000);
        (account.born, account.ended) = (50, Some(250));
        assert_eq!(resident(&account, 0, 300), 500 + 2000 + 1500);
        assert_eq!((resident(&account, 300, 400), account.sums(0, 300)[MemoryKind::Swap as usize]), (0, 0));
    }

    /// However time is cut into windows, with readings on both sides of each edge, the windows add up to the whole.
    #[test]
    fn windows_add_up() {
        let level = |at: u64| 1_000_000 + (at * 7919) % 500_000;
        let times: Vec<u64> = (0..400).map(|place| place * 977 + (place * 31) % 400).collect();
        let last = *times.last().unwrap();
        let mut whole = 0;
        for pair in times.windows(2) {
            whole += u128::from(pair[1] - pair[0]) * u128::from(level(pair[0]) + level(pair[1])) / 2;
        }
        let mut account = Account::new(1, 0, reading(times[0], level(times[0])));
        let (mut sum, mut from, mut due) = (0, times[0], times.iter().skip(1).peekable());
        while from < last {
            let to = (from + 10_007).min(last);
            // A window is closed a little after its edge.
            while let Some(at) = due.next_if(|at| **at <= to + 1500) {
                account.read(reading(*at, level(*at)));
            }
            sum += resident(&account, from, to);
            account.settle(to);
            assert!(account.readings.len() < 8);
            from = to;
        }
        let apart = sum.abs_diff(whole);
        // The last stretch before an edge may be told by a reading that comes after it was closed: then its level stays.
        assert!((apart as f64) < 0.003 * whole as f64, "{sum} {whole}");
    }

    /// What is read without end takes no memory without end.
    #[test]
    fn readings_are_bounded() {
        let mut account = Account::new(1, 0, reading(0, 0));
        (1..100_000).for_each(|at| account.read(reading(at, at)));
        assert!(account.readings.len() <= MAX_READINGS && account.readings[0].at == 0 && account.last() == 99_999);
        let (sum, truth) = (resident(&account, 0, 99_999), 99_999_u128 * 99_999 / 2);
        assert!(sum.abs_diff(truth) < truth / 100);
    }
}
