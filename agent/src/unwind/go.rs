//! Go's code: unwound by the stack depths that the program itself carries, which are exact at every instruction.
//!
//! Frame pointers would miss the caller of a function that has no frame, or has not made it yet, or has left it already.
//! Where Go's runtime changes stacks (a goroutine's for the thread's own, or for that of a signal) the older frames lie in memory that
//! the sample has no copy of.

use flamekeeper_object::go::{StackMap, StackRule};
use flamekeeper_profile::Svma;

use crate::unwind::arch::Regs;

/// Where a step leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoStep {
    /// To the caller, at this return address; the registers are the caller's.
    Caller(u64),
    /// Nowhere: the function is the first of its stack.
    Root,
    /// To another stack than the one that was copied.
    OtherStack,
    /// The return address lies here, outside the copy.
    Unreadable(u64),
}

/// Steps from a frame in Go's code to its caller; none where the address is not Go's or its depth is not known. `address` points into the
/// call of a frame that is not the leaf.
pub(crate) fn step(
    map: &StackMap,
    address: Svma,
    is_leaf: bool,
    regs: &mut Regs,
    read: &mut dyn FnMut(u64) -> Result<u64, ()>,
) -> Option<GoStep> {
    match map.rule(address)? {
        StackRule::Root => Some(GoStep::Root),
        StackRule::OtherStack => Some(GoStep::OtherStack),
        StackRule::Unknown => None,
        StackRule::Depth(depth) => {
            let frame = regs.sp().wrapping_add(depth);
            Some(match native::leave(regs, frame, depth, is_leaf, read) {
                Ok(return_address) => GoStep::Caller(return_address),
                Err(at) => GoStep::Unreadable(at),
            })
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod native {
    use super::Regs;

    /// The return address stands where the stack pointer was at the entry, and below it the caller's frame pointer, once
    /// the function has saved it and points there. The source: Go's internal ABI specification, "amd64 architecture".
    pub(super) fn leave(
        regs: &mut Regs,
        frame: u64,
        depth: u64,
        _is_leaf: bool,
        read: &mut dyn FnMut(u64) -> Result<u64, ()>,
    ) -> Result<u64, u64> {
        let return_address = read(frame).map_err(|()| frame)?;
        let saved = frame.wrapping_sub(8);
        if depth >= 8 && regs.bp() == saved {
            regs.set_bp(read(saved).map_err(|()| saved)?);
        }
        regs.set_sp(frame.wrapping_add(8));
        regs.set_ip(return_address);
        Ok(return_address)
    }
}

#[cfg(target_arch = "aarch64")]
mod native {
    use super::Regs;

    /// A function with a frame has saved the link register at its lowest address, and the frame pointer below that; one
    /// without has it in the register still, which only the leaf can. The source: Go's internal ABI specification, "arm64
    /// architecture", and `runtime/traceback.go`.
    pub(super) fn leave(
        regs: &mut Regs,
        frame: u64,
        depth: u64,
        is_leaf: bool,
        read: &mut dyn FnMut(u64) -> Result<u64, ()>,
    ) -> Result<u64, u64> {
        let sp = regs.sp();
        if depth == 0 {
            return if is_leaf { Ok(regs.lr()) } else { Err(sp) };
        }
        let return_address = regs.lr_mask().strip_ptr_auth(read(sp).map_err(|()| sp)?);
        let saved = sp.wrapping_sub(8);
        if regs.fp() == saved
            && let Ok(fp) = read(saved)
        {
            regs.set_fp(fp);
        }
        regs.set_sp(frame);
        regs.set_lr(return_address);
        Ok(return_address)
    }
}
