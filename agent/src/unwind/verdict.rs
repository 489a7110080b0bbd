//! What an address's unwind information asks for, and the memory of it.

/// How to step from a frame to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By a rule that framehop knows.
    Plain,
    /// Not at all: the unwind information says that the function has no caller, or it is the place from which the kernel
    /// starts a program or the C library a thread. The proof of a root.
    Outermost,
    /// By the registers that the kernel saved: this is where a signal's handler returns to.
    SignalReturn,
    /// By evaluating the row: an expression, or registers that framehop's rules do not combine.
    Evaluate,
    /// Not at all: the row does not say where the return address is.
    Unusable,
    /// There is no unwind information for the address.
    Uncovered,
}

/// Verdicts that are remembered: more than a busy host's addresses. A power of two.
const ENTRIES: usize = 8192;

#[derive(Clone, Copy)]
struct Entry {
    address: u64,
    /// The object's serial, which is never 0.
    object: u32,
    verdict: Verdict,
}

/// Verdicts by object and address; a new one takes the place of an old one.
pub(crate) struct Verdicts {
    entries: Box<[Entry]>,
}

impl Verdicts {
    /// None.
    pub(crate) fn new() -> Self {
        Self { entries: vec![Entry { address: 0, object: 0, verdict: Verdict::Uncovered }; ENTRIES].into() }
    }

    /// The verdict about an address of an object, by its serial; found by `judge` where it is not remembered.
    pub(crate) fn of(&mut self, object: u32, address: u64, judge: impl FnOnce() -> Verdict) -> Verdict {
        let mixed = (address ^ u64::from(object) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let entry = &mut self.entries[(mixed >> 51) as usize % ENTRIES];
        if entry.object != object || entry.address != address {
            *entry = Entry { address, object, verdict: judge() };
        }
        entry.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was judged is remembered, by object and address.
    #[test]
    fn verdicts_are_remembered() {
        let mut verdicts = Verdicts::new();
        assert_eq!(verdicts.of(1, 0x1000, || Verdict::Plain), Verdict::Plain);
        assert_eq!(verdicts.of(1, 0x1000, || unreachable!()), Verdict::Plain);
        assert_eq!(verdicts.of(2, 0x1000, || Verdict::Outermost), Verdict::Outermost);
        assert_eq!(verdicts.of(1, 0x1001, || Verdict::Evaluate), Verdict::Evaluate);
    }

    /// Addresses spread over the entries.
    #[test]
    fn entries_are_used_evenly() {
        let mut verdicts = Verdicts::new();
        let mut judged = 0;
        for _ in 0..2 {
            for address in 0..1000 {
                verdicts.of(3, 0x40_0000 + address * 7, || {
                    judged += 1;
                    Verdict::Plain
                });
            }
        }
        assert!((1000..1400).contains(&judged), "{judged} of 2000 were judged");
    }
}
