//! How long the engine sleeps between two rounds.
//!
//! A round that finds little costs more than what it finds, so rounds are rare where nothing is lost by it:
//! - rings that fill wake the engine by themselves ([`crate::perf::event::wakeup_bytes`]);
//! - a program that begins, and code that is mapped, ring a [`crate::perf::bell::Bell`], and the round comes a short pause
//!   later: processes are looked at, and asked for what procfs tells, while they live, as far as they live that long, and
//!   objects are opened before they are unmapped or replaced;
//! - short pauses stay short as long as there is something else whose memory is read from outside, soon after its moment
//!   ([`Sampler::hurries`]), and while periods are to be changed, for which the moment matters.

use crate::engine::pace::SHORTLY;
use crate::engine::sampler::Sampler;

/// The short pause, in nanoseconds: how long a process may be dead before procfs is asked about it.
pub(super) const SHORT_NS: u64 = 100_000_000;
/// The pause while the budget asks for less work.
pub(super) const LEAN_NS: u64 = 500_000_000;
/// The longest pause.
pub(super) const LONG_NS: u64 = 1_000_000_000;
/// How long pauses stay short after the last reason for it, in the records' time.
const LINGER_NS: u64 = 1_000_000_000;

// A change of a period waits for a moment that a round meets only if it comes soon enough.
const _: () = assert!(SHORT_NS < SHORTLY);

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// So many nanoseconds.
    For(u64),
    /// So many, or a short pause from the moment on that a program begins or maps code.
    Or(u64),
}

/// What bears on the next pause.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    /// There is to be less work.
    pub(super) lean: bool,
    /// Periods are to be changed.
    pub(super) changing: bool,
    /// Bells ring when programs begin.
    pub(super) bells: bool,
    /// When, in nanoseconds, the budget is looked at next.
    pub(super) budget: u64,
}

impl Needs {
    /// The pause that is due at a moment of the records' time.
    pub(super) fn pause(self, sampler: &Sampler, now: u64) -> Pause {
        self.pause_for(sampler.hurries(now.saturating_sub(LINGER_NS)))
    }

    fn pause_for(self, hurried: bool) -> Pause {
        if self.lean {
            Pause::For(LEAN_NS)
        } else if hurried || self.changing || !self.bells {
            Pause::For(SHORT_NS)
        } else {
            Pause::Or(self.budget.clamp(SHORT_NS, LONG_NS))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pauses are long only where nothing asks for a short one and bells end them; then the budget's tick still comes in time.
    #[test]
    fn pauses_are_as_long_as_nothing_is_lost() {
        let calm = Needs { bells: true, budget: 60 * LONG_NS, ..Needs::default() };
        assert_eq!(calm.pause_for(false), Pause::Or(LONG_NS));
        assert_eq!(Needs { budget: 2 * SHORT_NS, ..calm }.pause_for(false), Pause::Or(2 * SHORT_NS));
        for (needs, hurried) in [(calm, true), (Needs { changing: true, ..calm }, false), (Needs { bells: false, ..calm }, false)] {
            assert_eq!(needs.pause_for(hurried), Pause::For(SHORT_NS), "{needs:?}");
        }
        assert_eq!(Needs { lean: true, ..calm }.pause_for(true), Pause::For(LEAN_NS));
    }
}
