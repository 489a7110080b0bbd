//! Rows written by hand (DWARF 5, section 6.4.2); those of real objects are read by the tests that unwind real processes.

use super::*;
use crate::record::UserRegs;
use crate::unwind::arch::regs;
use flamekeeper_profile::Avma;

/// CFA = sp + 8 and the return address right below it, as after a call.
const AFTER_A_CALL: &[u8] = &[0x0c, 7, 8, 0x90, 1];

/// A `.debug_frame` with one common entry of these instructions, and functions of 16 bytes from 0x1000 on.
fn cfi(common: &[u8], functions: &[&[u8]]) -> Cfi {
    let mut section = Vec::new();
    let entry = |section: &mut Vec<u8>, body: &[u8]| {
        let padded = body.len().next_multiple_of(8) + 4;
        section.extend_from_slice(&u32::try_from(padded).unwrap().to_le_bytes());
        section.extend_from_slice(body);
        section.resize(section.len() + padded - body.len(), 0);
    };
    // No pointer to this one, version 1, no augmentation, factors 1 and -8, the return address is column 16.
    entry(&mut section, &[&[0xff, 0xff, 0xff, 0xff, 1, 0, 1, 0x78, 16], common].concat());
    for (place, instructions) in functions.iter().enumerate() {
        let start = 0x1000 + place as u64 * 16;
        entry(&mut section, &[&[0; 4][..], &start.to_le_bytes(), &16_u64.to_le_bytes(), instructions].concat());
    }
    Cfi::of_debug_frame(section.into(), BaseAddresses::default())
}

fn registers() -> Regs {
    regs(&UserRegs { ip: Avma(0x1000), sp: Avma(0x8000), fp: Avma(0x8100), lr: Avma(0) })
}

/// Every word of memory holds its own address plus one.
fn memory(at: u64) -> Result<u64, ()> {
    if at < 0x9000 { Ok(at + 1) } else { Err(()) }
}

/// What each kind of row asks for.
#[test]
#[cfg(target_arch = "x86_64")]
fn rows_are_judged() {
    let functions: &[&[u8]] = &[
        &[],
        // The return address is undefined.
        &[0x07, 16],
        // CFA = the word at rbp - 8.
        &[0x0f, 3, 0x76, 0x78, 0x06],
        // CFA = rbp + 32, rbp saved below: no rule of framehop's.
        &[0x0c, 6, 32, 0x86, 2],
        // CFA = rbp + 16, rbp saved there.
        &[0x0c, 6, 16, 0x86, 2],
        // An instruction that does not exist.
        &[0x3f],
    ];
    let cfi = cfi(AFTER_A_CALL, functions);
    let mut context = Context::new_in();
    let mut verdict = |at: u64| cfi.verdict(Svma(at), &mut context);
    let expected = [Verdict::Plain, Verdict::Outermost, Verdict::Evaluate, Verdict::Evaluate, Verdict::Plain, Verdict::Unusable];
    assert_eq!([0, 1, 2, 3, 4, 5].map(|place| verdict(0x1000 + place * 16 + 5)), expected);
    assert_eq!([0, 0xfff, 0x1060, u64::MAX].map(verdict), [Verdict::Uncovered; 4]);
    // Without a rule for the return address nobody can tell the caller, which is not the same as that there is none.
    assert_eq!(super::tests::cfi(&[0x0c, 7, 8], &[&[]]).verdict(Svma(0x1000), &mut context), Verdict::Unusable);
}

/// Expressions read memory, and what cannot be read is named.
#[test]
#[cfg(target_arch = "x86_64")]
fn expressions_are_evaluated() {
    let functions: &[&[u8]] = &[
        // CFA = the word at rbp - 8; rbp is the word at rbp + 0.
        &[0x0f, 3, 0x76, 0x78, 0x06, 0x10, 6, 2, 0x76, 0],
        &[0x0c, 6, 32, 0x86, 2],
        // CFA = the word at rbp + 0x2000.
        &[0x0f, 5, 0x76, 0x80, 0xc0, 0x00, 0x06],
        // An endless loop.
        &[0x0f, 3, 0x2f, 0xfd, 0xff],
        // CFA = rbx + 8.
        &[0x0c, 3, 8],
    ];
    let cfi = cfi(AFTER_A_CALL, functions);
    let mut context = Context::new_in();
    let mut evaluate = |place: u64| cfi.evaluate(Svma(0x1000 + place * 16), &mut context, &registers(), memory);
    assert_eq!(evaluate(0), Ok(Caller { return_address: 0x80f9 - 8 + 1, sp: 0x80f9, fp: 0x8101 }));
    assert_eq!(evaluate(1), Ok(Caller { return_address: 0x8119, sp: 0x8120, fp: 0x8111 }));
    assert!(matches!(evaluate(2), Err(EvaluationError::Memory(_))));
    assert_eq!(evaluate(3), Err(EvaluationError::Row));
    assert_eq!(evaluate(4), Err(EvaluationError::Row));
    assert_eq!(evaluate(99), Err(EvaluationError::Row));
}

/// Cut anywhere, or with any byte changed, a section is read without harm.
#[test]
fn damaged_sections_are_harmless() {
    let whole = cfi(AFTER_A_CALL, &[&[], &[0x07, 16], &[0x0f, 3, 0x76, 0x78, 0x06]]).frames;
    let mut context = Context::new_in();
    for at in 0..whole.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = whole.to_vec();
            damaged[at] ^= change;
            for bytes in [damaged, whole[..at].to_vec()] {
                let bytes: Bytes = bytes.into();
                let of = [
                    Cfi::of_debug_frame(Arc::clone(&bytes), BaseAddresses::default()),
                    Cfi::of_eh_frame(Arc::clone(&bytes), None, BaseAddresses::default()),
                    Cfi::of_eh_frame(Arc::clone(&bytes), Some(bytes), BaseAddresses::default()),
                ];
                for cfi in of {
                    for address in [0x1000, 0x1015, 0x1020] {
                        cfi.verdict(Svma(address), &mut context);
                        _ = cfi.evaluate(Svma(address), &mut context, &registers(), memory);
                    }
                }
            }
        }
    }
}
