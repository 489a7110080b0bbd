//! User stacks: from the registers and the copied stack of a sample to addresses in objects, leaf first.
//!
//! One unwinder for each *file*, in the file's own addresses, shared by all processes that map it. (An unwinder for each
//! process would take two steps of framehop's 16-bit generation counter for each library of each exec and wrap it within
//! some thousands of execs; a wrapped counter lets framehop answer from a rule that belongs to another module.)

pub(crate) mod arch;
pub(crate) mod callsite;
pub(crate) mod cfi;
mod copy;
pub(crate) mod go;
pub(crate) mod locate;
pub(crate) mod pool;
mod recent;
pub(crate) mod sections;
mod step;
mod stop;
pub(crate) mod vdso;
pub(crate) mod verdict;

use std::sync::Arc;

use flamekeeper_profile::{Avma, FileOffset, LocationId, StackEnd, StopReason, Svma};
use framehop::FrameAddress;

use crate::jit::book::Memory;
use crate::jvm;
use crate::process::maps::{Backing, Mapping};
use crate::process::table::Process;
use crate::record::Sample;
use crate::unwind::arch::Cache;
use crate::unwind::cfi::Context;
use crate::unwind::copy::Reads;
use crate::unwind::pool::{ObjectPool, ObjectRef};
use crate::unwind::recent::{Recent, Resumed};
use crate::unwind::step::{Step, Walk};
use crate::unwind::verdict::Verdicts;

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
    /// The same, of a Java virtual machine that names it: a number for [`crate::jvm::Java::name`].
    Java(u32),
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
    /// Where its part of the stack begins; it goes up to that of its caller.
    pub(crate) sp: Avma,
}

/// Unwinds samples of all processes.
pub(crate) struct Unwinder {
    pool: ObjectPool,
    caches: Box<[Cache]>,
    /// For code without an object: knows no module, so it follows frame pointers.
    frame_pointers: arch::Unwinder<sections::Bytes>,
    /// Memory for what Java virtual machines tell.
    java: Arc<Memory>,
    verdicts: Verdicts,
    recent: Recent,
    /// For reading unwind information.
    context: Box<Context>,
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
        let frame_pointers = arch::Unwinder::new();
        let java = Arc::new(Memory::new(jvm::MEMORY));
        let (verdicts, context) = (Verdicts::new(), Box::new(Context::new_in()));
        Self { pool, caches: caches(), frame_pointers, java, verdicts, recent: Recent::new(), context, epoch }
    }

    /// The objects.
    pub(crate) fn pool(&mut self) -> &mut ObjectPool {
        &mut self.pool
    }

    /// Memory for what Java virtual machines tell.
    pub(crate) const fn java(&self) -> &Arc<Memory> {
        &self.java
    }

    /// Unwinds the user part of a sample into `frames` (cleared before), leaf first.
    pub(crate) fn unwind(&mut self, process: &mut Process, sample: &Sample<'_>, frames: &mut Vec<UserFrame>) -> StackEnd {
        frames.clear();
        self.recent.begin((process.generation, sample.task.tid), process.maps.version(), &mut self.pool);
        let end = self.walk(process, sample, frames);
        self.recent.end(end == StackEnd::Root, &mut self.pool);
        end
    }

    fn walk(&mut self, process: &mut Process, sample: &Sample<'_>, frames: &mut Vec<UserFrame>) -> StackEnd {
        let Some(user) = sample.regs else { return StackEnd::Truncated(StopReason::NoUserStack) };
        let reads = Reads::default();
        let mut walk = Walk::new(&user, sample.stack, &reads);
        let mut address = FrameAddress::from_instruction_pointer(user.ip.0);
        loop {
            let mut state = walk.state(address);
            let known = frames.len();
            match self.recent.resume(&state, &walk.stack, frames) {
                Resumed::No => {}
                Resumed::UpTo(frame) => {
                    frames.iter().skip(known).for_each(|frame| walk.passed(frame.sp.0));
                    walk.go_to(&frame);
                    (state, address) = (frame, frame.address);
                }
                Resumed::Whole => return StackEnd::Root,
            }
            reads.clear();
            let lookup = Avma(address.address_for_lookup());
            let code = self.code_at(process, lookup);
            if code == FrameCode::Nowhere && !frames.is_empty() {
                return StackEnd::Truncated(StopReason::NoMapping);
            }
            if frames.len() >= MAX_FRAMES {
                return StackEnd::Truncated(StopReason::DepthLimit);
            }
            frames.push(UserFrame { address: lookup, code, sp: Avma(walk.regs.sp()) });
            let step = match code {
                FrameCode::Nowhere => return StackEnd::Truncated(StopReason::NoMapping),
                FrameCode::Object(object, svma) => self.step_object(object, svma, address, &mut walk),
                FrameCode::Generated => match self.step_java(process, (address, sample.time), &mut walk, frames) {
                    Some(caller) => caller,
                    None => self.step_frame_pointer(address, &mut walk),
                },
                FrameCode::File(_) | FrameCode::Java(_) => self.step_frame_pointer(address, &mut walk),
            };
            match step {
                Ok(Step::Caller(next)) => {
                    self.recent.stepped(state, code, &reads);
                    address = next;
                }
                Ok(Step::Root) => {
                    self.recent.stepped(state, code, &reads);
                    return StackEnd::Root;
                }
                Err(stop) => return StackEnd::Truncated(stop.reason(code, &walk, process, sample)),
            }
        }
    }

    /// What the frames of the stack that was unwound last are in the tables of a window, as far as that is remembered: **root first**,
    /// none for those that are not, and empty where nothing is. To be given back, filled, by [`Self::keep_places`].
    pub(crate) fn places(&mut self, window: u64) -> Vec<Option<LocationId>> {
        self.recent.places(window)
    }

    /// Takes them back.
    pub(crate) fn keep_places(&mut self, places: Vec<Option<LocationId>>) {
        self.recent.keep_places(places);
    }

    /// Bytes that remembered stacks take, roughly.
    pub(crate) fn remembered_bytes(&self) -> usize {
        self.recent.bytes()
    }

    /// How many frames of the stack that was unwound last were not unwound again.
    #[cfg(test)]
    pub(crate) const fn remembered_frames(&self) -> usize {
        self.recent.reused()
    }

    /// Forgets all stacks.
    #[cfg(test)]
    pub(crate) fn forget_stacks(&mut self) {
        self.recent = Recent::new();
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
}

fn caches() -> Box<[Cache]> {
    (0..CACHES).map(|_| Cache::new_in()).collect()
}

/// Which cache to ask for an address. framehop takes the address modulo 509 within a cache; this takes the bits above.
fn cache_of(address: u64, slot: usize) -> usize {
    let mixed = (address ^ (slot as u64) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 58) as usize % CACHES
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of it is a test")]
mod replay;
#[cfg(test)]
mod tests;
