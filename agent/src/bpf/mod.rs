//! BPF without a compiler: an assembler ([`asm`]) and the calls that load what it makes ([`sys`]).

pub(crate) mod asm;
pub(crate) mod sys;
