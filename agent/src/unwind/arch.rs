//! What unwinding must know of this machine: its registers, by framehop's types and DWARF's numbers, what a row of unwind
//! information asks for, and where a signal's frame keeps the registers that it interrupted.

use gimli::{CfaRule, Register, RegisterRule, UnwindContextStorage, UnwindTableRow};

use crate::jvm::machine::Registers;
use crate::record::UserRegs;
use crate::unwind::verdict::Verdict;

/// Unwinding must not allocate: it runs for each sample.
type Policy = framehop::MustNotAllocateDuringUnwind;

#[cfg(target_arch = "x86_64")]
mod native {
    use gimli::X86_64;

    use super::{CfaRule, Policy, Register, RegisterRule, Registers, UnwindContextStorage, UnwindTableRow, UserRegs, Verdict};

    pub(crate) type Unwinder<D> = framehop::x86_64::UnwinderX86_64<D, Policy>;
    pub(crate) type Cache = framehop::x86_64::CacheX86_64<Policy>;
    pub(crate) type Regs = framehop::x86_64::UnwindRegsX86_64;

    /// The registers by which a Java virtual machine's frames are found.
    pub(crate) fn frame_registers(regs: &Regs) -> Registers {
        Registers { sp: regs.sp(), bp: regs.bp() }
    }

    /// Goes to the caller.
    pub(crate) fn set_frame_registers(regs: &mut Regs, ip: u64, next: Registers) {
        regs.set_ip(ip);
        regs.set_sp(next.sp);
        regs.set_bp(next.bp);
    }

    pub(crate) fn regs(user: &UserRegs) -> Regs {
        Regs::new(user.ip.0, user.sp.0, user.fp.0)
    }

    /// All that the registers hold.
    pub(crate) fn words(regs: &Regs) -> [u64; 3] {
        [regs.ip(), regs.sp(), regs.bp()]
    }

    /// The registers that hold this.
    pub(crate) fn of_words([ip, sp, bp]: [u64; 3]) -> Regs {
        Regs::new(ip, sp, bp)
    }

    pub(crate) const RETURN_ADDRESS: Register = X86_64::RA;
    pub(crate) const FRAME_POINTER: Register = X86_64::RBP;

    /// A register, of those that are known while unwinding.
    pub(crate) fn get(regs: &Regs, register: Register) -> Option<u64> {
        match register {
            X86_64::RSP => Some(regs.sp()),
            X86_64::RBP => Some(regs.bp()),
            X86_64::RA => Some(regs.ip()),
            _ => None,
        }
    }

    pub(crate) fn fp(regs: &Regs) -> u64 {
        regs.bp()
    }

    pub(crate) fn set(regs: &mut Regs, ip: u64, sp: u64, fp: u64) -> u64 {
        regs.set_ip(ip);
        regs.set_sp(sp);
        regs.set_bp(fp);
        ip
    }

    /// Where the frame of a signal keeps the interrupted registers, from the stack pointer that its return finds: a
    /// `struct ucontext` (`arch/x86/include/uapi/asm/sigcontext.h`).
    pub(crate) const SIGNAL_FP: u64 = 120;
    pub(crate) const SIGNAL_SP: u64 = 160;
    pub(crate) const SIGNAL_IP: u64 = 168;

    /// Offsets that framehop's rules can hold: 16 bits, of 8 bytes.
    const PLAIN: std::ops::RangeInclusive<i64> = 0..=8 * u16::MAX as i64;

    /// What a row asks for. Only what framehop turns into one of its rules is plain: of all else it makes a guess by the
    /// frame pointer, which it then keeps for that address.
    pub(crate) fn judge<S: UnwindContextStorage<usize>>(row: &UnwindTableRow<usize, S>) -> Verdict {
        match row.register(X86_64::RA) {
            Some(RegisterRule::Undefined) => return Verdict::Outermost,
            Some(RegisterRule::Offset(-8)) => {}
            None => return Verdict::Unusable,
            Some(_) => return Verdict::Evaluate,
        }
        let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else { return Verdict::Evaluate };
        let saved = match row.register(X86_64::RBP) {
            None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => None,
            Some(RegisterRule::Offset(offset)) => Some(offset),
            Some(_) => return Verdict::Evaluate,
        };
        let plain = match *register {
            X86_64::RSP => {
                let place = saved.map_or(0, |saved| offset.saturating_add(saved));
                PLAIN.contains(offset) && offset % 8 == 0 && place % 8 == 0 && i16::try_from(place / 8).is_ok()
            }
            X86_64::RBP => *offset == 16 && saved == Some(-16),
            _ => false,
        };
        if plain { Verdict::Plain } else { Verdict::Evaluate }
    }
}

#[cfg(target_arch = "aarch64")]
mod native {
    use framehop::aarch64::PtrAuthMask;
    use gimli::AArch64;

    use super::{CfaRule, Policy, Register, RegisterRule, Registers, UnwindContextStorage, UnwindTableRow, UserRegs, Verdict};

    pub(crate) type Unwinder<D> = framehop::aarch64::UnwinderAarch64<D, Policy>;
    pub(crate) type Cache = framehop::aarch64::CacheAarch64<Policy>;
    pub(crate) type Regs = framehop::aarch64::UnwindRegsAarch64;

    /// User addresses have 48 bits unless a program asks the kernel for more; what lies above is the signature of a
    /// signed return address (`Documentation/arch/arm64/pointer-authentication.rst`).
    const ADDRESS: PtrAuthMask = PtrAuthMask(u64::MAX >> 16);

    /// The registers by which a Java virtual machine's frames are found.
    pub(crate) fn frame_registers(regs: &Regs) -> Registers {
        Registers { sp: regs.sp(), bp: regs.fp() }
    }

    /// Goes to the caller. Not used: no machine's records are read on this processor.
    pub(crate) fn set_frame_registers(regs: &mut Regs, ip: u64, next: Registers) {
        regs.set_lr(ip);
        regs.set_sp(next.sp);
        regs.set_fp(next.bp);
    }

    pub(crate) fn regs(user: &UserRegs) -> Regs {
        Regs::new_with_ptr_auth_mask(ADDRESS, user.lr.0, user.sp.0, user.fp.0)
    }

    /// All that the registers hold.
    pub(crate) fn words(regs: &Regs) -> [u64; 3] {
        [regs.lr(), regs.sp(), regs.fp()]
    }

    /// The registers that hold this.
    pub(crate) fn of_words([lr, sp, fp]: [u64; 3]) -> Regs {
        Regs::new_with_ptr_auth_mask(ADDRESS, lr, sp, fp)
    }

    pub(crate) const RETURN_ADDRESS: Register = AArch64::X30;
    pub(crate) const FRAME_POINTER: Register = AArch64::X29;

    /// A register, of those that are known while unwinding.
    pub(crate) fn get(regs: &Regs, register: Register) -> Option<u64> {
        match register {
            AArch64::SP => Some(regs.sp()),
            AArch64::X29 => Some(regs.fp()),
            AArch64::X30 => Some(regs.lr()),
            _ => None,
        }
    }

    pub(crate) fn fp(regs: &Regs) -> u64 {
        regs.fp()
    }

    pub(crate) fn set(regs: &mut Regs, ip: u64, sp: u64, fp: u64) -> u64 {
        regs.set_lr(ip);
        regs.set_sp(sp);
        regs.set_fp(fp);
        ADDRESS.strip_ptr_auth(ip)
    }

    /// Where the frame of a signal keeps the interrupted registers, from the stack pointer that its return finds: a
    /// `siginfo_t` and a `struct ucontext` (`arch/arm64/include/uapi/asm/{ucontext,sigcontext}.h`).
    pub(crate) const SIGNAL_FP: u64 = 544;
    pub(crate) const SIGNAL_SP: u64 = 560;
    pub(crate) const SIGNAL_IP: u64 = 568;

    /// What a row asks for. Without a rule for it the return address is in its register still.
    pub(crate) fn judge<S: UnwindContextStorage<usize>>(row: &UnwindTableRow<usize, S>) -> Verdict {
        let simple = |rule| matches!(rule, None | Some(RegisterRule::SameValue | RegisterRule::Offset(_)));
        if row.register(RETURN_ADDRESS) == Some(RegisterRule::Undefined) {
            return Verdict::Outermost;
        }
        let cfa = matches!(row.cfa(), CfaRule::RegisterAndOffset { register: AArch64::SP | AArch64::X29, .. });
        let plain = cfa && simple(row.register(RETURN_ADDRESS)) && simple(row.register(FRAME_POINTER));
        if plain { Verdict::Plain } else { Verdict::Evaluate }
    }
}

pub(crate) use native::{
    Cache, FRAME_POINTER, RETURN_ADDRESS, Regs, Unwinder, fp, frame_registers, get, judge, of_words, regs, set, set_frame_registers, words,
};
use native::{SIGNAL_FP, SIGNAL_IP, SIGNAL_SP};

/// Takes the registers that a signal interrupted from its frame, and answers the interrupted address, which is none of a call.
///
/// # Errors
/// The address that could not be read.
pub(crate) fn interrupted(regs: &mut Regs, read: impl Fn(u64) -> Result<u64, ()>) -> Result<u64, u64> {
    let sp = regs.sp();
    let at = |offset| {
        let address = sp.wrapping_add(offset);
        read(address).map_err(|()| address)
    };
    let (ip, new_sp, fp) = (at(SIGNAL_IP)?, at(SIGNAL_SP)?, at(SIGNAL_FP)?);
    set(regs, ip, new_sp, fp);
    Ok(ip)
}
