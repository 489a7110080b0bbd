//! Which part of a chain of interpreter frames belongs to which native frame. Pure.
//!
//! Every call from C into Python is one native frame of `_PyEval_EvalFrameDefault` and one *run* of interpreter frames, up to
//! and including the frame (or mark) by which C entered. Calls from Python to Python add an interpreter frame to the run and
//! no native one.
//!
//! Since 3.12 the mark lies in the native frame itself, so that its address tells the native frame, whatever the compiler
//! has made of the function (parts of it apart, or one function for each instruction that call each other). In 3.11 there is
//! no mark: native frames are told by the function's symbols, and both sides are counted.
//!
//! Where the two sides do not agree, nothing is merged.

use std::ops::Range;

use flamekeeper_profile::StackEnd;

use crate::python::frames::{Chain, ChainEnd, Role};
use crate::python::offsets::OwnerRule;
use crate::unwind::UserFrame;

/// The native side of a sample.
pub(crate) struct Native<'a> {
    /// Its frames, leaf first.
    pub(crate) frames: &'a [UserFrame],
    /// Those of `_PyEval_EvalFrameDefault` by its symbols, ascending.
    pub(crate) evals: &'a [usize],
    /// Whether code at an address is the interpreter's.
    pub(crate) is_interpreter: &'a dyn Fn(u64) -> bool,
    /// How the stack ends.
    pub(crate) end: StackEnd,
}

/// A run of interpreter frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Its frames in the chain, without the mark.
    pub(crate) frames: Range<usize>,
    /// How it ends.
    entry: Entry,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// With a frame that is flagged.
    Flagged,
    /// With a mark at this address of the native stack.
    Marked(u64),
    /// Beyond the record.
    Cut,
}

/// Divides a chain into runs.
pub(crate) fn runs(chain: &Chain<'_>, rule: OwnerRule, into: &mut Vec<Run>) {
    into.clear();
    let (mut start, mut next) = (0, 0);
    for frame in chain.frames() {
        let (end, entry) = match frame.role(rule) {
            Role::Python => {
                next += 1;
                continue;
            }
            Role::PythonEntry => (next + 1, Entry::Flagged),
            Role::Entry => (next, Entry::Marked(frame.address)),
        };
        into.push(Run { frames: start..end, entry });
        (start, next) = (next + 1, next + 1);
    }
    if start < next {
        into.push(Run { frames: start..next, entry: Entry::Cut });
    }
}

/// Finds the native frame of each run, as far out as the native stack reaches. Answers whether what called the last of them
/// is not known; none where the two sides disagree.
pub(crate) fn assign(native: &Native<'_>, runs: &[Run], end: ChainEnd, into: &mut Vec<usize>) -> Option<bool> {
    into.clear();
    if end == ChainEnd::Fault || end == ChainEnd::Complete && runs.iter().any(|run| run.entry == Entry::Cut) {
        return None;
    }
    let marked = runs.iter().any(|run| matches!(run.entry, Entry::Marked(_)));
    if marked { by_marks(native, runs, into) } else { by_count(native, runs, end, into) }
}

fn by_marks(native: &Native<'_>, runs: &[Run], into: &mut Vec<usize>) -> Option<bool> {
    for run in runs {
        let Entry::Marked(mark) = run.entry else {
            // The run goes on beyond the record; the native frame is the next one out, if the symbols tell it.
            let next = native.evals.iter().find(|eval| into.last().is_none_or(|last| *eval > last));
            into.push(*next?);
            return Some(true);
        };
        // The frame that begins below the mark and whose caller begins above it.
        let above = native.frames.partition_point(|frame| frame.sp.0 <= mark);
        if above == native.frames.len() && native.end != StackEnd::Root {
            return Some(false);
        }
        let index = above.checked_sub(1).filter(|_| above < native.frames.len())?;
        let inside = (native.is_interpreter)(native.frames.get(index)?.address.0);
        if !inside || into.last().is_some_and(|last| *last >= index) {
            return None;
        }
        into.push(index);
    }
    // Only the leaf can have entered the function and not yet, or no more, have a frame in the chain.
    let claimed = |eval: &usize| *eval == 0 || into.binary_search(eval).is_ok();
    native.evals.iter().all(claimed).then_some(false)
}

fn by_count(native: &Native<'_>, runs: &[Run], end: ChainEnd, into: &mut Vec<usize>) -> Option<bool> {
    let evals = native.evals;
    let truncated = native.end != StackEnd::Root;
    let (skip, cut) = match end {
        ChainEnd::Fault => return None,
        // The record's frames end within the last run, and so does what is known of the stack.
        ChainEnd::Cut if evals.len() >= runs.len() => (0, true),
        ChainEnd::Cut if truncated => (0, false),
        ChainEnd::Complete if evals.len() == runs.len() => (0, false),
        // The function has been entered and has not yet linked its frame, or has already unlinked it.
        ChainEnd::Complete if evals.len() == runs.len() + 1 && evals.first() == Some(&0) => (1, false),
        // The native stack ends early: its leaf side is right, and so are the first runs.
        ChainEnd::Complete if evals.len() < runs.len() && truncated => (0, false),
        ChainEnd::Cut | ChainEnd::Complete => return None,
    };
    into.extend(evals.iter().skip(skip).take(runs.len()));
    Some(cut)
}

#[cfg(test)]
mod tests {
    use flamekeeper_profile::{Avma, StopReason};

    use super::*;
    use crate::python::frames::tests::record;
    use crate::python::program::{COMPLETE, CUT};
    use crate::unwind::FrameCode;

    const SHORT: StackEnd = StackEnd::Truncated(StopReason::CopyExhausted);
    const LATER: OwnerRule = OwnerRule::From(3);

    /// Divides a chain of (owner, address).
    fn divided(end: i32, frames: &[(u64, u64)], rule: OwnerRule) -> Vec<Run> {
        let frames: Vec<[u64; 5]> = frames.iter().map(|(owner, address)| [1, 2, *owner, 3, *address]).collect();
        let bytes = record(end, &frames);
        let mut into = vec![Run { frames: 7..8, entry: Entry::Cut }];
        runs(&Chain::parse(&bytes).unwrap(), rule, &mut into);
        into
    }

    /// Assigns runs to a native stack of 16 bytes a frame, whose frames from 2 on are the interpreter's.
    fn assigned(evals: &[usize], end: StackEnd, runs: &[Run], chain: ChainEnd) -> Option<(Vec<usize>, bool)> {
        let frame = |at: u64| UserFrame { address: Avma(at), code: FrameCode::Nowhere, sp: Avma(0x1000 + 16 * at) };
        let frames: Vec<UserFrame> = (0..8).map(frame).collect();
        let native = Native { frames: &frames, evals, is_interpreter: &|address| address >= 2, end };
        let mut into = vec![99];
        assign(&native, runs, chain, &mut into).map(|cut| (into, cut))
    }

    /// With marks between runs these are left out, and a run may be empty; with a flag the flagged frame is the last.
    #[test]
    fn divides_chains() {
        let run = |frames, entry| Run { frames, entry };
        let marks = divided(COMPLETE, &[(3, 0x10), (0, 1), (1, 1), (4, 0x20)], LATER);
        assert_eq!(marks, [run(0..0, Entry::Marked(0x10)), run(1..3, Entry::Marked(0x20))]);
        assert_eq!(divided(CUT, &[(0, 0), (3, 9), (0, 0), (0, 0)], LATER), [run(0..1, Entry::Marked(9)), run(2..4, Entry::Cut)]);
        let flags = divided(COMPLETE, &[(0, 0), (1, 0), (1, 0), (0x101, 0)], OwnerRule::EntryFlag);
        assert_eq!(flags, [run(0..2, Entry::Flagged), run(2..3, Entry::Flagged), run(3..4, Entry::Flagged)]);
        assert!(divided(COMPLETE, &[], LATER).is_empty());
    }

    /// A mark tells its native frame, which must be the interpreter's, further out than the one before; what the symbols know
    /// in addition must not contradict it.
    #[test]
    fn marks_tell_frames() {
        let two = |first, second| divided(COMPLETE, &[(0, 0), (3, first), (0, 0), (3, second)], LATER);
        let root = |evals: &[usize], runs: &[Run]| assigned(evals, StackEnd::Root, runs, ChainEnd::Complete);
        let at = |index: u64| 0x1008 + 16 * index;
        assert_eq!(root(&[], &two(at(2), at(5))), Some((vec![2, 5], false)));
        assert_eq!(root(&[0, 2, 5], &two(at(2), at(5))), Some((vec![2, 5], false)));
        assert_eq!(root(&[2, 3, 5], &two(at(2), at(5))), None);
        assert_eq!(root(&[], &two(at(1), at(5))), None);
        assert_eq!(root(&[], &two(at(5), at(2))), None);
        assert_eq!(root(&[], &two(at(5), at(5))), None);
        assert_eq!(root(&[], &two(0x20, at(5))), None);
        assert_eq!(root(&[], &two(at(2), at(9))), None);
        assert_eq!(assigned(&[], SHORT, &two(at(2), at(9)), ChainEnd::Complete), Some((vec![2], false)));
        let cut = divided(CUT, &[(0, 0), (3, at(2)), (0, 0)], LATER);
        assert_eq!(assigned(&[2, 4], StackEnd::Root, &cut, ChainEnd::Cut), Some((vec![2, 4], true)));
        assert_eq!(assigned(&[], StackEnd::Root, &cut, ChainEnd::Cut), None);
    }

    /// Without marks equal counts agree; one native frame more only at the leaf; a truncated side may be shorter; all else
    /// disagrees.
    #[test]
    fn counts_must_agree() {
        let two = divided(COMPLETE, &[(0, 0), (1, 0), (1, 0)], OwnerRule::EntryFlag);
        let root = |evals: &[usize]| assigned(evals, StackEnd::Root, &two, ChainEnd::Complete);
        assert_eq!(root(&[0, 3]), Some((vec![0, 3], false)));
        assert_eq!(root(&[0, 3, 5]), Some((vec![3, 5], false)));
        assert_eq!(root(&[1, 3, 5]), None);
        assert_eq!(root(&[3]), None);
        assert_eq!(assigned(&[3], SHORT, &two, ChainEnd::Complete), Some((vec![3], false)));
        assert_eq!(assigned(&[1, 2, 3], SHORT, &two, ChainEnd::Complete), None);
        let cut = divided(CUT, &[(1, 0), (0, 0)], OwnerRule::EntryFlag);
        assert_eq!(assigned(&[2, 4, 6], StackEnd::Root, &cut, ChainEnd::Cut), Some((vec![2, 4], true)));
        assert_eq!(assigned(&[2], StackEnd::Root, &cut, ChainEnd::Cut), None);
        assert_eq!(assigned(&[2, 4], StackEnd::Root, &two, ChainEnd::Fault), None);
    }
}
