//! The memory's part of the decision: from measured bytes to how far caches shrink.

/// Ticks after a step before the next: freed memory takes a while to go back to the kernel.
const SETTLE: u32 = 3;
/// Ticks well below the ceiling before caches may grow again.
const CALM: u32 = 60;
/// The last step: caches at an eighth.
pub(crate) const LAST_STEP: u8 = 3;

/// Decides by how many halvings caches are kept below what they may hold.
#[derive(Debug)]
pub(crate) struct MemoryGovernor {
    ceiling: u64,
    step: u8,
    held: u32,
    calm: u32,
}

impl MemoryGovernor {
    /// For a ceiling in bytes.
    pub(crate) const fn new(ceiling: u64) -> Self {
        Self { ceiling, step: 0, held: SETTLE, calm: 0 }
    }

    /// Takes note of the bytes that are used, and says which step holds from now on.
    pub(crate) fn tick(&mut self, used: u64) -> u8 {
        self.held = self.held.saturating_add(1);
        // Nine and seven tenths of the ceiling; the gap between them keeps it from swinging.
        let (high, low) = (self.ceiling / 10 * 9, self.ceiling / 10 * 7);
        self.calm = if used < low { self.calm.saturating_add(1) } else { 0 };
        if used > high && self.held > SETTLE {
            (self.step, self.held) = ((self.step + 1).min(LAST_STEP), 0);
        } else if self.calm >= CALM {
            (self.step, self.calm) = (self.step.saturating_sub(1), 0);
        }
        self.step
    }

    /// Whether memory is short now, so that what is free should go back to the kernel.
    pub(crate) const fn is_short(&self, used: u64) -> bool {
        used > self.ceiling / 10 * 9
    }
}

/// What anonymous memory may be beside what the structures are known to hold: threads, buffers, and what is not counted.
const SLACK: u64 = 16 << 20;
/// Ticks between two times that free memory goes back, at least and at most.
const PAUSES: (u32, u32) = (10, 640);

/// Decides when memory that the allocator holds free goes back to the kernel. To read the unwind information of a whole host
/// takes as much memory again for a moment, and an allocator keeps what it once had.
#[derive(Debug)]
pub(crate) struct Trimmer {
    pause: u32,
    waited: u32,
}

impl Trimmer {
    pub(crate) const fn new() -> Self {
        Self { pause: PAUSES.0, waited: 0 }
    }

    /// Whether the time has come, with so many bytes in use, of which so many are known. Where it does not help, because they
    /// are not free, the pauses grow.
    pub(crate) fn tick(&mut self, used: u64, known: u64) -> bool {
        if used.saturating_sub(known) <= SLACK.max(known / 4) {
            *self = Self::new();
            return false;
        }
        self.waited += 1;
        if self.waited < self.pause {
            return false;
        }
        (self.pause, self.waited) = ((self.pause * 2).min(PAUSES.1), 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory that nothing accounts for is given back after ten ticks, then, as long as it does not help, ever more rarely.
    #[test]
    fn trims_what_is_unknown() {
        let mut trimmer = Trimmer::new();
        let mut trims = |used, ticks| (0..ticks).filter(|_| trimmer.tick(used, 40 << 20)).count();
        assert_eq!(trims(56 << 20, 1000), 0);
        assert_eq!(trims(57 << 20, 9), 0);
        assert_eq!(trims(57 << 20, 1), 1);
        assert_eq!(trims(57 << 20, 20 + 40 + 80 + 160 + 320), 5);
        assert_eq!(trims(57 << 20, 6400), 10);
        assert_eq!(trims(50 << 20, 1), 0);
        assert_eq!(trims(57 << 20, 10), 1);
    }

    /// Above nine tenths caches shrink by steps with pauses between, stay in the gap, and grow again after a calm minute.
    #[test]
    fn shrinks_and_grows() {
        let mut governor = MemoryGovernor::new(100);
        let mut run = |used, ticks| (0..ticks).map(|_| governor.tick(used)).last().unwrap();
        assert_eq!(run(89, 100), 0);
        assert_eq!(run(95, 1), 1);
        assert_eq!(run(95, 3), 1);
        assert_eq!(run(95, 1), 2);
        assert_eq!(run(99, 100), LAST_STEP);
        assert_eq!(run(80, 200), LAST_STEP);
        assert_eq!(run(50, 59), LAST_STEP);
        assert_eq!(run(50, 1), LAST_STEP - 1);
        assert_eq!(run(50, 120), 0);
        assert_eq!(run(u64::MAX, 1), 1);
    }
}
