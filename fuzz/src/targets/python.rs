//! Structures of a Python interpreter, in its own memory and in the records that are copied from it.

use std::hint::black_box;

use flamekeeper_agent::python::code::Code;
use flamekeeper_agent::python::detect;
use flamekeeper_agent::python::frames::Chain;
use flamekeeper_agent::python::lines::line_of;
use flamekeeper_agent::python::offsets::{Offsets, RUNTIME_HEAD};
use flamekeeper_agent::python::threads::{MAX_THREADS, list};

/// Where a foreign address space begins that is all the input.
const BASE: u64 = 0x7f00_0000_0000;
/// `Py_Version` of the versions that are known.
const VERSIONS: [u32; 4] = [0x030b_07f0, 0x030c_03f0, 0x030d_01f0, 0x030e_00f0];

/// The input as a record of frames, as a line table, as a symbol table, and as the interpreter's memory: its list of threads
/// and a code object in each layout.
pub(super) fn python(bytes: &[u8]) {
    if let Some(chain) = Chain::parse(bytes) {
        assert!(chain.frames().count() <= bytes.len());
    }
    for unit in [0, 3, u32::MAX] {
        black_box(line_of(bytes, 7, unit));
    }
    let (table, names) = bytes.split_at(bytes.len() / 2);
    black_box(detect::in_table(table, names));
    let mut read = |address: u64, to: &mut [u8]| {
        let at = usize::try_from(address.checked_sub(BASE)?).ok()?;
        to.copy_from_slice(bytes.get(at..at.checked_add(to.len())?)?);
        Some(())
    };
    for version in VERSIONS {
        let Ok(offsets) = Offsets::of(version, bytes.get(..RUNTIME_HEAD).unwrap_or(bytes)) else { continue };
        assert!(list(BASE, &offsets.threads, &mut read).len() <= MAX_THREADS);
        // The first two words choose the code object's fingerprint and type.
        let word = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_ne_bytes(*word));
        if let Ok(code) = Code::read(BASE + 16, word(0), word(8), &offsets.code, &mut read) {
            assert!(code.size() <= bytes.len() * 8 + 4096);
            black_box(code.unit(BASE + 16 + offsets.code.bytecode).map(|unit| code.line(unit)));
        }
    }
}
