//! User stacks: from the registers and the copied stack of a sample to addresses in objects, leaf first.
//!
//! One unwinder for each *file*, in the file's own addresses, shared by all processes that map it. (An unwinder for each
//! process would take two steps of framehop's 16-bit generation counter for each library of each exec and wrap it within
//! some thousands of execs; a wrapped counter lets framehop answer from a rule that belongs to another module.)

pub(crate) mod arch;
pub(crate) mod locate;
pub(crate) mod pool;
pub(crate) mod sections;
pub(crate) mod vdso;

use flamekeeper_profile::{Avma, FileOffset, StackEnd, StopReason, Svma};
use framehop::{Error, FrameAddress, Unwinder as _};

use crate::process::maps::{Backing, Mapping};
use crate::process::table::Process;
use crate::record::Sample;
use crate::unwind::arch::{Cache, Regs};
use crate::unwind::pool::{ObjectPool, ObjectRef};

/// Frames of a stack that are kept, from the leaf on. A 64 KiB copy of a stack holds 4096 of the smallest frames.
pub(crate) const MAX_FRAMES: usize = 2048;
/// Rule caches: framehop's holds 509 rules, and a busy host visits more addresses than that. A power of two.
const CACHES: usize = 64;

/// What is known about a mapping's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// Nobody has looked.
    Unknown,
    /// It belongs to an object: address in the file = address in memory - bias (wrapping).
    Object {
        /// The object.
        object: ObjectRef,
        /// The difference.
        bias: u64,
    },
    /// Its file cannot be read, or is no object.
    Unreadable,
}

/// Where a frame's code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameCode {
    /// In an object, at the address that the object states.
    Object(ObjectRef, Svma),
    /// In a file that could not be read, at this offset.
    File(FileOffset),
    /// In memory that the process filled itself.
    Generated,
    /// In no mapping.
    Nowhere,
}

/// A frame of a user stack. The addresses point into the call, not behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserFrame {
    /// Where it is in memory.
    pub(crate) address: Avma,
    /// Whose code that is.
    pub(crate) code: FrameCode,
}

/// Unwinds samples of all processes.
pub(crate) struct Unwinder {
    pool: ObjectPool,
    caches: Box<[Cache]>,
    /// For code without an object: knows no module, so it follows frame pointers.
    frame_pointers: arch::Unwinder<sections::Bytes>,
    /// Which pool of unwinders the caches belong to.
    epoch: u64,
}

impl std::fmt::Debug for Unwinder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unwinder").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl Unwinder {
    /// An unwinder that knows no object yet.
    pub(crate) fn new(pool: ObjectPool) -> Self {
        let epoch = pool.epoch();
        Self { pool, caches: caches(), frame_pointers: arch::Unwinder::new(), epoch }
    }

    /// The objects.
    pub(crate) fn pool(&mut self) -> &mut ObjectPool {
        &mut self.pool
    }

    /// Unwinds the user part of a sample into `frames` (cleared before), leaf first.
    pub(crate) fn unwind(&mut self, process: &mut Process, sample: &Sample<'_>, frames: &mut Vec<UserFrame>) -> StackEnd {
        frames.clear();
        let Some(user) = sample.regs else { return StackEnd::Truncated(StopReason::NoUserStack) };
        let stack = StackCopy { start: user.sp.0, bytes: sample.stack };
        let mut regs = arch::regs(&user);
        let mut address = FrameAddress::from_instruction_pointer(user.ip.0);
        loop {
            let lookup = Avma(address.address_for_lookup());
            let code = self.code_at(process, lookup);
            if code == FrameCode::Nowhere && !frames.is_empty() {
                return StackEnd::Truncated(StopReason::NoMapping);
            }
            if frames.len() >= MAX_FRAMES {
                return StackEnd::Truncated(StopReason::DepthLimit);
            }
            frames.push(UserFrame { address: lookup, code });
            let step = match code {
                FrameCode::Nowhere => return StackEnd::Truncated(StopReason::NoMapping),
                FrameCode::Object(object, svma) => self.step_object(object, svma, address, &mut regs, &stack),
                FrameCode::File(_) | FrameCode::Generated => self.step_frame_pointer(address, &mut regs, &stack),
            };
            match step.map(|next| next.and_then(FrameAddress::from_return_address)) {
                Ok(Some(next)) => address = next,
                // framehop's end of the stack: the unwind information says that the function has no caller, the return
                // address is 0, or a frame pointer of 0 where there is no unwind information.
                Ok(None) | Err(Error::ReturnAddressIsNull) => return StackEnd::Root,
                Err(error) => return StackEnd::Truncated(self.reason(error, code, &stack, sample)),
            }
        }
    }

    fn code_at(&mut self, process: &mut Process, address: Avma) -> FrameCode {
        let pid = process.pid;
        let Some(mapping) = process.maps.find(address) else { return FrameCode::Nowhere };
        if matches!(mapping.backing, Backing::Anonymous) {
            return FrameCode::Generated;
        }
        self.resolve(pid, mapping);
        match (mapping.resolved, &mapping.backing) {
            (Resolved::Unreadable, Backing::File(file)) if file.may_be_generated() => FrameCode::Generated,
            (Resolved::Object { object, bias }, _) => FrameCode::Object(object, Svma(address.0.wrapping_sub(bias))),
            (_, Backing::File(_)) => FrameCode::File(FileOffset((address.0 - mapping.start.0).wrapping_add(mapping.offset.0))),
            _ => FrameCode::Generated,
        }
    }

    /// Finds out which object a mapping belongs to, unless that is known and the object still loaded.
    pub(crate) fn resolve(&mut self, pid: u32, mapping: &mut Mapping) {
        match mapping.resolved {
            Resolved::Object { object, .. } if self.pool.touch(object) => return,
            Resolved::Unreadable => return,
            Resolved::Object { .. } | Resolved::Unknown => {}
        }
        mapping.resolved = self.pool.resolve(pid, mapping);
        if self.epoch != self.pool.epoch() {
            // The generation counter was about to wrap and all unwinders are new: no old rule may answer for them.
            self.epoch = self.pool.epoch();
            self.caches = caches();
        }
    }

    fn step_object(
        &mut self,
        object: ObjectRef,
        svma: Svma,
        address: FrameAddress,
        regs: &mut Regs,
        stack: &StackCopy<'_>,
    ) -> Result<Option<u64>, Error> {
        let Some(unwinder) = self.pool.unwinder(object) else { return self.step_frame_pointer(address, regs, stack) };
        let relative = if address.is_return_address() {
            FrameAddress::from_return_address(svma.0.wrapping_add(1)).unwrap_or(FrameAddress::InstructionPointer(svma.0))
        } else {
            FrameAddress::from_instruction_pointer(svma.0)
        };
        let cache = &mut self.caches[cache_of(svma.0, object.slot())];
        unwinder.unwind_frame(relative, regs, cache, &mut |at| stack.read(at))
    }

    fn step_frame_pointer(&mut self, address: FrameAddress, regs: &mut Regs, stack: &StackCopy<'_>) -> Result<Option<u64>, Error> {
        let cache = &mut self.caches[cache_of(address.address(), usize::MAX)];
        self.frame_pointers.unwind_frame(address, regs, cache, &mut |at| stack.read(at))
    }

    fn reason(&self, error: Error, code: FrameCode, stack: &StackCopy<'_>, sample: &Sample<'_>) -> StopReason {
        if sample.stack.is_empty() {
            // Not even one word: the process is letting go of its memory (execve, exit).
            return StopReason::NoUserStack;
        }
        if let Error::CouldNotReadStack(at) = error
            && stack.is_beyond(at)
            && sample.stack.len() == sample.stack_asked
        {
            return StopReason::CopyExhausted;
        }
        match code {
            FrameCode::Object(object, _) if self.pool.has_unwind_info(object) => StopReason::BadFrame,
            FrameCode::Object(..) | FrameCode::Generated | FrameCode::Nowhere => StopReason::NoUnwindInfo,
            FrameCode::File(_) => StopReason::UnreadableObject,
        }
    }
}

fn caches() -> Box<[Cache]> {
    (0..CACHES).map(|_| Cache::new_in()).collect()
}

/// Which cache to ask for an address. framehop takes the address modulo 509 within a cache; this takes the bits above.
fn cache_of(address: u64, slot: usize) -> usize {
    let mixed = (address ^ (slot as u64) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 58) as usize % CACHES
}

/// The copy of a stack.
struct StackCopy<'a> {
    start: u64,
    bytes: &'a [u8],
}

impl StackCopy<'_> {
    fn read(&self, address: u64) -> Result<u64, ()> {
        let at = address.checked_sub(self.start).and_then(|at| usize::try_from(at).ok()).ok_or(())?;
        let word = self.bytes.get(at..).and_then(<[u8]>::first_chunk::<8>).ok_or(())?;
        Ok(u64::from_ne_bytes(*word))
    }

    /// Whether an address lies above the copy, by less than the largest stacks that are usual.
    const fn is_beyond(&self, address: u64) -> bool {
        const LARGEST: u64 = 1 << 30;
        let end = self.start.wrapping_add(self.bytes.len() as u64);
        address.wrapping_add(8) > end && address.wrapping_sub(end) < LARGEST || address < end && address.wrapping_add(8) > end
    }
}

#[cfg(test)]
mod tests;
