//! framehop's types for this machine.

use crate::record::UserRegs;

/// Unwinding must not allocate: it runs for each sample.
type Policy = framehop::MustNotAllocateDuringUnwind;

#[cfg(target_arch = "x86_64")]
mod native {
    use super::{Policy, UserRegs};

    pub(crate) type Unwinder<D> = framehop::x86_64::UnwinderX86_64<D, Policy>;
    pub(crate) type Cache = framehop::x86_64::CacheX86_64<Policy>;
    pub(crate) type Regs = framehop::x86_64::UnwindRegsX86_64;

    pub(crate) fn regs(user: &UserRegs) -> Regs {
        Regs::new(user.ip.0, user.sp.0, user.fp.0)
    }
}

#[cfg(target_arch = "aarch64")]
mod native {
    use framehop::aarch64::PtrAuthMask;

    use super::{Policy, UserRegs};

    pub(crate) type Unwinder<D> = framehop::aarch64::UnwinderAarch64<D, Policy>;
    pub(crate) type Cache = framehop::aarch64::CacheAarch64<Policy>;
    pub(crate) type Regs = framehop::aarch64::UnwindRegsAarch64;

    /// User addresses have 48 bits unless a program asks the kernel for more; what lies above is the signature of a
    /// signed return address (`Documentation/arch/arm64/pointer-authentication.rst`).
    const ADDRESS: PtrAuthMask = PtrAuthMask(u64::MAX >> 16);

    pub(crate) fn regs(user: &UserRegs) -> Regs {
        Regs::new_with_ptr_auth_mask(ADDRESS, user.lr.0, user.sp.0, user.fp.0)
    }
}

pub(crate) use native::{Cache, Regs, Unwinder, regs};
