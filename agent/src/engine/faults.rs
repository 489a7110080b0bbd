//! How often page faults are sampled, and what each sample stands for.
//!
//! **What a sample stands for.** It carries what its event has counted, so it stands for the faults since the one before in its
//! ring: also when the period has changed in between, and then the sum of all samples is still the number of faults. At
//! most for a period, though: what is more was lost with samples that found no room, is no part of this stack, and is counted as missed.
//! A sample is one of a block of faults whose other stacks are not known. Where blocks begin has nothing to do with who faults, as the
//! counter of a CPU goes on from process to process; so it is expected right, and its error is that of sampling.
//!
//! **How often.** A fixed number of faults from sample to sample, as long as a CPU has at most half as many such samples a second as samples of
//! the CPU: so the work for the first is at most half the work for the second, and the budget that lowers the frequency lowers this too; and no more than
//! 20 at any frequency. Where samples of the CPU are lost for want of room, those of page faults give way. Above it
//! the period grows by powers of two, at once in a storm; below it, it shrinks again. It also grows where a ring was full, as programs fault in
//! bursts that no mean rate tells of, and does not shrink again for a while. Periods are prime, so
//! that a program that touches pages in turns is met at all places of its round.

use std::io;

use crate::perf::faults::FaultEvents;

/// Samples of a busy CPU to one of its page faults, at least.
const CPU_SAMPLES: u64 = 2;
/// The shortest time from sample to sample that is allowed on a CPU, in nanoseconds: who samples the CPU at a high frequency wants to know
/// more of time, not of memory.
const LEAST_NS: u64 = 50_000_000;
/// From look to look at a calm ring, in nanoseconds: long enough for some samples.
const LOOK_NS: u64 = 2_000_000_000;
/// The same in periods of CPU samples.
const LOOK_PERIODS: u64 = 8;
/// A ring may have as many samples as belong to so long a time before it counts as a storm, in nanoseconds.
const BURST_NS: u64 = 1_000_000_000;
/// For so many looks after a ring was full its period does not shrink.
const CALM_LOOKS: u32 = 8;
/// The shortest time that a rate is told from, in nanoseconds.
const SHORTEST_NS: u64 = 20_000_000;
/// How often a period is doubled at most.
const LAST_STEP: u32 = 20;

/// What a sample stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// Faults.
    pub(crate) faults: u64,
    /// Faults since the sample before that nobody stands for.
    pub(crate) missed: u64,
}

/// A change of the period on its way: see [`FaultEvents::set_period`]. Times are when it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// None.
    Done,
    /// Once, and no sample has come since.
    Once(u64),
    /// A sample has come since: time for the second call.
    Due,
    /// Twice, and no sample has come since.
    Twice(u64),
}

/// One ring.
#[derive(Clone, Copy, Debug)]
struct Place {
    step: u32,
    /// The period, and the one before.
    period: u64,
    before: u64,
    change: Change,
    /// What the event had counted at the last sample.
    counted: u64,
    /// Samples since this look, and when it was.
    samples: u64,
    looked: u64,
    /// Whether samples found no room since this look, and how many looks came after the last one of which that is true.
    full: bool,
    calm: u32,
}

impl Place {
    const fn new(period: u64, now: u64) -> Self {
        Self { step: 0, period, before: period, change: Change::Done, counted: 0, samples: 0, looked: now, full: false, calm: CALM_LOOKS }
    }

    fn sampled(&mut self, counted: u64, time: u64) -> Share {
        let since = counted.saturating_sub(self.counted);
        self.counted = self.counted.max(counted);
        self.samples = self.samples.saturating_add(1);
        let faults = since.min(self.period.max(self.before));
        self.full |= faults < since;
        match self.change {
            Change::Once(at) if time > at => self.change = Change::Due,
            Change::Twice(at) if time > at => (self.change, self.before) = (Change::Done, self.period),
            Change::Done | Change::Due | Change::Once(_) | Change::Twice(_) => {}
        }
        Share { faults, missed: since - faults }
    }

    /// By how many steps the period is to be longer (or shorter, below 0); none where it is not time to say. `every` is the time from
    /// sample to sample that is allowed, in nanoseconds.
    fn wants(&self, every: u64, now: u64) -> Option<i32> {
        let every = every.max(1);
        let passed = now.saturating_sub(self.looked);
        let allowed = |nanoseconds: u64| (nanoseconds / every).max(1);
        if self.samples > allowed(passed) + allowed(BURST_NS) {
            return Some(doublings(self.samples, allowed(passed.max(SHORTEST_NS))).max(1));
        }
        if passed < LOOK_NS.max(every.saturating_mul(LOOK_PERIODS)) {
            return None;
        }
        let allowed = allowed(passed);
        if self.full || self.samples > allowed {
            return Some(doublings(self.samples, allowed).max(1));
        }
        if self.calm < CALM_LOOKS {
            return Some(0);
        }
        // Twice as many samples as there were would still be well below what is allowed.
        Some(if self.samples * 8 < allowed { -2 } else { -i32::from(self.samples * 3 < allowed) })
    }
}

/// How often `low` must be doubled to reach `high`.
fn doublings(high: u64, low: u64) -> i32 {
    i32::try_from(high.div_ceil(low.max(1)).next_power_of_two().ilog2()).unwrap_or(i32::MAX)
}

/// The first odd prime number from `least` on; 1 for 1.
fn prime_from(least: u64) -> u64 {
    let is_prime = |n: u64| n % 2 == 1 && (3..).step_by(2).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    (least.max(1)..).find(|n| is_prime(*n)).unwrap_or(least)
}

/// All rings of page faults.
#[derive(Debug)]
pub(crate) struct FaultPace {
    least: u64,
    places: Vec<Place>,
}

impl FaultPace {
    /// For the configured number of faults from sample to sample.
    pub(crate) const fn new(least: u32) -> Self {
        Self { least: least as u64, places: Vec::new() }
    }

    /// The period that events begin with.
    pub(crate) fn first(&self) -> u64 {
        prime_from(self.least)
    }

    /// What a sample of a ring stands for, by its event's count and its time.
    pub(crate) fn sampled(&mut self, place: usize, counted: u64, time: u64) -> Share {
        self.place(place, time).sampled(counted, time)
    }

    /// Samples of the CPU found no room: those of page faults give way, as the reader does not keep up.
    pub(crate) fn give_way(&mut self) {
        self.places.iter_mut().for_each(|place| place.full = true);
    }

    /// The event of a ring was opened anew.
    pub(crate) fn begin_anew(&mut self, place: usize, now: u64) {
        *self.place(place, now) = Place::new(self.first(), now);
    }

    /// Changes periods where there are too many samples, or room for more. `period` is that of CPU samples, in nanoseconds.
    pub(crate) fn apply(&mut self, events: &FaultEvents, period: u64, now: u64) {
        self.apply_with(period.saturating_mul(CPU_SAMPLES).max(LEAST_NS), now, |place, period| events.set_period(place, period));
    }

    /// One sample in `every` nanoseconds is allowed on each CPU.
    fn apply_with(&mut self, every: u64, now: u64, mut set: impl FnMut(usize, u64) -> io::Result<()>) {
        let least = self.least;
        for (index, place) in self.places.iter_mut().enumerate() {
            let mut change = place.change;
            if let Some(steps) = place.wants(every, now) {
                place.calm = if place.full { 0 } else { place.calm.saturating_add(1) };
                (place.samples, place.looked, place.full) = (0, now, false);
                let step = place.step.saturating_add_signed(steps).min(LAST_STEP);
                if step != place.step {
                    (place.step, place.before) = (step, place.before.max(place.period));
                    place.period = prime_from(least << step);
                    change = Change::Once(now);
                }
            }
            if change == place.change && change != Change::Due {
                continue;
            }
            place.change = if change == Change::Due { Change::Twice(now) } else { change };
            if let Err(error) = set(index, place.period) {
                tracing::debug!(%error, "the period of a page-fault event could not be changed");
            }
        }
    }

    fn place(&mut self, place: usize, now: u64) -> &mut Place {
        if place >= self.places.len() {
            self.places.resize(place + 1, Place::new(prime_from(self.least), now));
        }
        &mut self.places[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const EVERY: u64 = 50 * MS;

    /// The kernel's counter of one CPU, as `perf_swevent_set_period` has it.
    struct Kernel {
        asked: u64,
        last: u64,
        left: i64,
        counted: u64,
    }

    impl Kernel {
        fn new(period: u64) -> Self {
            Self { asked: period, last: period, left: -(period as i64), counted: 0 }
        }

        fn set(&mut self, period: u64) {
            (self.asked, self.left) = (period, 0);
        }

        /// A fault; whether it is sampled.
        fn fault(&mut self) -> bool {
            self.counted += 1;
            self.left += 1;
            if self.left < 0 {
                return false;
            }
            let period = std::mem::replace(&mut self.last, self.asked) as i64;
            self.left -= (period + self.left) / period * period;
            true
        }
    }

    /// Runs faults at rates (a second) for so many tenths of a second each, with the last `lost` of each round's samples lost. Answers
    /// samples in each tenth, and what they stand for in all.
    fn run(pace: &mut FaultPace, kernel: &mut Kernel, rates: &[(u64, usize)], lost: u64) -> (Vec<u64>, Share) {
        let (mut now, mut sum, mut counts) = (0, Share::default(), Vec::new());
        for (rate, tenths) in rates {
            for _ in 0..*tenths {
                let (mut samples, faults) = (0, rate / 10);
                for n in 0..faults {
                    if kernel.fault() {
                        samples += 1;
                        if lost > 0 && samples % lost == 0 {
                            continue;
                        }
                        let share = pace.sampled(0, kernel.counted, now + n * 100 * MS / faults);
                        (sum.faults, sum.missed) = (sum.faults + share.faults, sum.missed + share.missed);
                    }
                }
                now += 100 * MS;
                pace.apply_with(EVERY, now, |_, period| {
                    kernel.set(period);
                    Ok(())
                });
                counts.push(samples);
            }
        }
        (counts, sum)
    }

    /// A storm is brought below the cap within some rounds and held there; when it is over the period comes back; whatever the
    /// period did, the samples stand for all faults, to the last one's block.
    #[test]
    fn storms_are_capped_and_weights_stay_right() {
        let mut pace = FaultPace::new(101);
        let mut kernel = Kernel::new(pace.first());
        let (counts, sum) = run(&mut pace, &mut kernel, &[(500, 50), (400_000, 100), (500, 400)], 0);
        let per_second = |range: std::ops::Range<usize>| counts[range.clone()].iter().sum::<u64>() * 10 / range.len() as u64;
        assert_eq!(per_second(0..50), 4, "as configured: {counts:?}");
        assert!(per_second(50..60) < 600, "the storm's first second: {counts:?}");
        assert!((5..=21).contains(&per_second(70..150)), "the storm: {counts:?}");
        assert!((2..=5).contains(&per_second(400..550)), "after it: {counts:?}");
        assert_eq!(sum.missed, 0);
        assert!(kernel.counted - sum.faults <= 101, "{} of {}", sum.faults, kernel.counted);
    }

    /// Faults whose samples were lost are nobody's: they are counted as missed, and the others keep their own weight.
    #[test]
    fn lost_samples_are_missed() {
        let mut pace = FaultPace::new(101);
        let mut kernel = Kernel::new(pace.first());
        let (_, sum) = run(&mut pace, &mut kernel, &[(2_000, 15)], 2);
        assert_eq!((sum.faults % 101, sum.missed % 101), (0, 0), "whole periods, of one sample each");
        assert!((sum.faults / 2..sum.faults * 11 / 10).contains(&sum.missed), "about every other: {sum:?}");
        assert!((0..=2 * 101).contains(&(kernel.counted - sum.faults - sum.missed)), "{sum:?} of {}", kernel.counted);
    }

    /// A ring that was full is sampled more rarely, however low the mean rate is, until nothing was lost for a while.
    #[test]
    fn full_rings_are_sampled_more_rarely() {
        let mut pace = FaultPace::new(101);
        let mut kernel = Kernel::new(pace.first());
        let (counts, _) = run(&mut pace, &mut kernel, &[(2_000, 25)], 2);
        assert!(counts.iter().sum::<u64>() > 20 && pace.places[0].period > 101, "{:?}", pace.places);
        run(&mut pace, &mut kernel, &[(100, 100)], 0);
        assert!(pace.places[0].period > 101, "too early: {:?}", pace.places);
        run(&mut pace, &mut kernel, &[(100, 300)], 0);
        assert_eq!(pace.places[0].period, 101);
    }

    /// Periods meet every place of a round: none has a factor in common with a short one.
    #[test]
    fn periods_are_prime() {
        assert_eq!([1, 2, 100, 101, 202, 808].map(prime_from), [1, 3, 101, 101, 211, 809]);
        assert!((2..40).all(|round| !prime_from(101 << 9).is_multiple_of(round)));
    }
}
