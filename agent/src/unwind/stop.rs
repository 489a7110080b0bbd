//! Why a walk ended before a root.

use flamekeeper_profile::{Avma, StopReason};

use crate::process::stacks::Neighbours;
use crate::process::table::Process;
use crate::record::Sample;
use crate::unwind::FrameCode;
use crate::unwind::step::Walk;

/// What kept a step from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The caller's frame needs the word at an address that was not copied.
    Unreadable {
        /// The address.
        at: u64,
        /// Whether unwind information led there; else a frame pointer was followed, which may be anything.
        covered: bool,
    },
    /// There is no unwind information, and following the frame pointer leads nowhere.
    Uncovered,
    /// Unwind information leads to what cannot be.
    Impossible,
    /// The caller is known to have run on another stack.
    OtherStack,
}

/// A frame that ends this close to the last one lies on the same stack: most are far smaller.
const NEAR: u64 = 64 << 10;
/// Addresses below this are never mapped (`vm.mmap_min_addr`): a value that is none is no stack.
const LOWEST: u64 = 64 << 10;

impl Stop {
    /// The reason, as the profile tells it.
    pub(super) fn reason(self, code: FrameCode, walk: &Walk<'_>, process: &mut Process, sample: &Sample<'_>) -> StopReason {
        if sample.stack.is_empty() {
            // Not even one word: the process is letting go of its memory (execve, exit).
            return StopReason::NoUserStack;
        }
        let uncovered = match code {
            FrameCode::File(_) => StopReason::UnreadableObject,
            FrameCode::Object(..) | FrameCode::Generated | FrameCode::Java(_) | FrameCode::Nowhere => StopReason::NoUnwindInfo,
        };
        let (at, trusted) = match self {
            Self::Unreadable { at, covered } => (at, covered && walk.exact),
            Self::Uncovered => return uncovered,
            Self::Impossible => return StopReason::BadFrame,
            Self::OtherStack => return StopReason::OtherStack,
        };
        let impossible = if trusted { StopReason::BadFrame } else { uncovered };
        let beyond = walk.stack.is_beyond(at);
        let whole = walk.stack.len() == sample.stack_asked;
        if beyond && whole && at.saturating_sub(walk.inside) < NEAR {
            return StopReason::CopyExhausted;
        }
        let stack = sample.regs.map_or(Avma(walk.inside), |regs| regs.sp);
        match process.stacks.neighbours(process.pid, sample.time, stack, Avma(at)) {
            Neighbours::Same if beyond => StopReason::CopyExhausted,
            Neighbours::Different if trusted => StopReason::OtherStack,
            Neighbours::Unknown if trusted && beyond && whole => StopReason::CopyExhausted,
            Neighbours::Unknown if trusted && at >= LOWEST => StopReason::OtherStack,
            Neighbours::Same | Neighbours::Different | Neighbours::Unmapped | Neighbours::Unknown => impossible,
        }
    }
}
