//! One step of unwinding: from a frame to its caller.
//!
//! framehop follows the plain rules; what it cannot tell or do is done here: it answers the same for "this function has no
//! caller" and for a frame pointer of 0 that a program left there by chance, it does not read memory in expressions, and it
//! does not know the frames of signals. So every address is judged first ([`Verdict`]), once.
//!
//! **A root is claimed** only where it is proven: unwind information states that the function has no caller; or the address
//! is one of those by which a program or thread is started ([`crate::unwind::callsite`]); or the return address is 0 and
//! every frame from the leaf on was left by what unwind information says, not by following frame pointers. A frame pointer of
//! 0 proves nothing.

use flamekeeper_profile::Svma;
use framehop::{Error, FrameAddress, Unwinder as _};

use crate::process::table::Process;
use crate::record::UserRegs;
use crate::unwind::arch::{self, Regs};
use crate::unwind::cfi::EvaluationError;
use crate::unwind::copy::{Reads, StackCopy};
use crate::unwind::go::{self, GoStep};
use crate::unwind::pool::ObjectRef;
use crate::unwind::recent::State;
use crate::unwind::stop::Stop;
use crate::unwind::verdict::Verdict;
use crate::unwind::{FrameCode, Unwinder, UserFrame, cache_of};

/// Where a step leads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// To the caller.
    Caller(FrameAddress),
    /// Nowhere: this frame is proven to be the first of its thread.
    Root,
}

/// The state between two steps.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    /// The registers of the frame.
    pub(super) regs: Regs,
    /// The copied stack.
    pub(super) stack: StackCopy<'a>,
    /// Whether all frames so far were left by what unwind information says.
    pub(super) exact: bool,
    /// The last stack pointer that lay in the copy.
    pub(super) inside: u64,
}

impl<'a> Walk<'a> {
    /// Begins at the leaf.
    pub(super) fn new(user: &UserRegs, stack: &'a [u8], reads: &'a Reads) -> Self {
        Self { regs: arch::regs(user), stack: StackCopy::new(user.sp.0, stack, reads), exact: true, inside: user.sp.0 }
    }

    /// All that the next step rests on beside the words that it reads and where code is mapped.
    pub(super) fn state(&self, address: FrameAddress) -> State {
        State { address, regs: arch::words(&self.regs), exact: self.exact }
    }

    /// Goes to a frame whose state is known.
    pub(super) fn go_to(&mut self, state: &State) {
        self.regs = arch::of_words(state.regs);
        self.exact = state.exact;
        self.passed(self.regs.sp());
    }

    /// Notes the stack pointer of a frame on the way.
    pub(super) const fn passed(&mut self, sp: u64) {
        if self.stack.reaches(sp) {
            self.inside = sp;
        }
    }

    fn caller(&mut self, return_address: u64) -> Result<Step, Stop> {
        match FrameAddress::from_return_address(return_address) {
            Some(next) => {
                self.passed(self.regs.sp());
                Ok(Step::Caller(next))
            }
            None if self.exact => Ok(Step::Root),
            None => Err(Stop::Impossible),
        }
    }

    /// Takes what framehop answers where it can only follow the frame pointer.
    fn guessed(&mut self, answer: Result<Option<u64>, Error>) -> Result<Step, Stop> {
        self.exact = false;
        match answer {
            Ok(Some(return_address)) if return_address != 0 => self.caller(return_address),
            Err(Error::CouldNotReadStack(at)) => Err(Stop::Unreadable { at, covered: false }),
            Ok(_) | Err(_) => Err(Stop::Uncovered),
        }
    }
}

impl Unwinder {
    pub(super) fn step_object(&mut self, object: ObjectRef, svma: Svma, address: FrameAddress, walk: &mut Walk<'_>) -> Result<Step, Stop> {
        if let Some(step) = self.step_go(object, svma, address, walk) {
            return step;
        }
        let Some(info) = self.pool.unwind_info(object) else { return self.step_frame_pointer(address, walk) };
        let context = &mut *self.context;
        let verdict = self.verdicts.of(object.serial(), svma.0, || info.verdict(svma, context));
        let stack = walk.stack;
        match verdict {
            Verdict::Plain => {
                let cache = &mut self.caches[cache_of(svma.0, object.slot())];
                let answer = info.unwinder.unwind_frame(in_object(address, svma), &mut walk.regs, cache, &mut |at| stack.read(at));
                match answer {
                    Ok(Some(return_address)) => walk.caller(return_address),
                    Err(Error::ReturnAddressIsNull) => walk.caller(0),
                    Err(Error::CouldNotReadStack(at)) => Err(Stop::Unreadable { at, covered: true }),
                    Err(Error::FramepointerUnwindingMovedBackwards) => Err(Stop::Unreadable { at: arch::fp(&walk.regs), covered: true }),
                    Ok(None) | Err(Error::DidNotAdvance | Error::IntegerOverflow) => Err(Stop::Impossible),
                }
            }
            Verdict::Outermost => Ok(Step::Root),
            Verdict::SignalReturn => match arch::interrupted(&mut walk.regs, |at| stack.read(at)) {
                Ok(ip) => Ok(Step::Caller(FrameAddress::from_instruction_pointer(ip))),
                Err(at) => Err(Stop::Unreadable { at, covered: true }),
            },
            Verdict::Evaluate => {
                let cfi = info.cfi.as_ref().ok_or(Stop::Impossible)?;
                let caller = cfi.evaluate(svma, context, &walk.regs, |at| stack.read(at)).map_err(|error| match error {
                    EvaluationError::Memory(at) => Stop::Unreadable { at, covered: true },
                    EvaluationError::Row => Stop::Impossible,
                })?;
                // A caller's frame lies above its callee's, or the walk could go in circles.
                if address.is_return_address() && caller.sp <= walk.regs.sp() {
                    return Err(Stop::Unreadable { at: caller.sp, covered: true });
                }
                let return_address = arch::set(&mut walk.regs, caller.return_address, caller.sp, caller.fp);
                walk.caller(return_address)
            }
            Verdict::Unusable => Err(Stop::Impossible),
            Verdict::Uncovered if info.sites.bytes() > 0 => {
                let bias = address.address_for_lookup().wrapping_sub(svma.0);
                let found = info.sites.caller(svma, walk.regs.sp(), |at| stack.read(at), bias);
                let (return_address, sp) = found.ok_or(Stop::Uncovered)?;
                walk.exact = false;
                let fp = arch::fp(&walk.regs);
                let return_address = arch::set(&mut walk.regs, return_address, sp, fp);
                walk.caller(return_address)
            }
            Verdict::Uncovered => {
                let cache = &mut self.caches[cache_of(svma.0, object.slot())];
                let answer = info.unwinder.unwind_frame(in_object(address, svma), &mut walk.regs, cache, &mut |at| stack.read(at));
                walk.guessed(answer)
            }
        }
    }

    /// Steps over a frame of Go's code. None: it is another's, or its depth is not known.
    fn step_go(&self, object: ObjectRef, svma: Svma, address: FrameAddress, walk: &mut Walk<'_>) -> Option<Result<Step, Stop>> {
        let stack = walk.stack;
        let step = go::step(self.pool.go(object)?, svma, !address.is_return_address(), &mut walk.regs, &mut |at| stack.read(at))?;
        Some(match step {
            GoStep::Caller(return_address) => walk.caller(return_address),
            GoStep::Root => Ok(Step::Root),
            GoStep::OtherStack => Err(Stop::OtherStack),
            GoStep::Unreadable(at) => Err(Stop::Unreadable { at, covered: true }),
        })
    }

    /// Steps over a frame that a Java virtual machine knows, and notes its name. None: follow the frame pointer.
    pub(super) fn step_java(
        &self,
        process: &mut Process,
        (address, now): (FrameAddress, u64),
        walk: &mut Walk<'_>,
        frames: &mut [UserFrame],
    ) -> Option<Result<Step, Stop>> {
        let at = (address.address_for_lookup(), !address.is_return_address(), now);
        let stack = walk.stack;
        let read = |at| stack.read(at);
        let frame = process.java.frame((process.pid, &process.names), at, arch::frame_registers(&walk.regs), &self.java, &read)?;
        if let (Some(number), Some(last)) = (frame.name, frames.last_mut()) {
            last.code = FrameCode::Java(number);
        }
        let (caller, next) = frame.caller?;
        arch::set_frame_registers(&mut walk.regs, caller, next);
        // What the machine records is right, but not of the sampled moment.
        walk.exact = false;
        Some(walk.caller(caller))
    }

    pub(super) fn step_frame_pointer(&mut self, address: FrameAddress, walk: &mut Walk<'_>) -> Result<Step, Stop> {
        let cache = &mut self.caches[cache_of(address.address(), usize::MAX)];
        let stack = walk.stack;
        let answer = self.frame_pointers.unwind_frame(address, &mut walk.regs, cache, &mut |at| stack.read(at));
        walk.guessed(answer)
    }
}

/// An address in the object's own addresses; `svma` is that of the lookup, which of a return address is one less.
fn in_object(address: FrameAddress, svma: Svma) -> FrameAddress {
    if address.is_return_address() {
        FrameAddress::from_return_address(svma.0.wrapping_add(1)).unwrap_or(FrameAddress::InstructionPointer(svma.0))
    } else {
        FrameAddress::from_instruction_pointer(svma.0)
    }
}
