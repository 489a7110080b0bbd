//! Code objects forged in this process's own memory, as 3.11 lays them out.

use super::*;
use crate::python::offsets::Offsets;
use crate::python::process::Interpreter;

/// Where in the forged memory what stands.
const FILE: usize = 0x200;
const NAME: usize = 0x300;
const LINES: usize = 0x400;
/// What stands for `PyCode_Type`.
pub(crate) const KIND: u64 = 0x1234_5678;

/// A code object in memory: `été` at line 40 of `/x/ü.py`, of four instructions of two units.
pub(crate) struct Forged(Vec<u64>);

impl Forged {
    /// Lays it out.
    pub(crate) fn new() -> Self {
        let mut forged = Self(vec![0; 256]);
        let base = forged.address();
        let at = |offset: usize| base + offset as u64;
        let layout = layout();
        for (offset, value) in [(8, KIND), (16, 8), (112, at(FILE)), (120, at(NAME)), (128, at(NAME)), (136, at(LINES)), (72, 40)] {
            forged.set(offset, value);
        }
        // Kind 1, compact, not ASCII: interned, 0b0_0_1_001_01. The path has 16-bit characters.
        forged.set(NAME + 16, 3);
        forged.set(NAME + 32, 0b0010_0101 | 0xabcd_0000);
        forged.put(NAME + usize::try_from(layout.unicode).unwrap(), &[0xe9, b't', 0xe9]);
        forged.set(FILE + 16, 7);
        forged.set(FILE + 32, 0b0010_1001);
        let path: Vec<u8> = "/x/ü.py".encode_utf16().flat_map(u16::to_ne_bytes).collect();
        forged.put(FILE + usize::try_from(layout.unicode).unwrap(), &path);
        // Two units on the first line, two 3 lines on without columns, two on none, two one line on.
        let table = [0xd1, 0, 0, 0xe9, 6, 0xf9, 0xd9, 0, 0];
        forged.set(LINES + 16, table.len() as u64);
        forged.put(LINES + 32, &table);
        forged
    }

    /// Its address.
    pub(crate) fn address(&self) -> u64 {
        self.0.as_ptr() as u64
    }

    /// What the kernel's side would mix.
    pub(crate) fn fingerprint(&self) -> u64 {
        let names = [112, 120, 128, 136].map(|offset: usize| self.0[offset / 8]);
        names.iter().fold(0_u64, |sum, name| sum.wrapping_mul(0x0100_0193).wrapping_add(*name))
    }

    fn set(&mut self, offset: usize, value: u64) {
        self.0[offset / 8] = value;
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (place, byte) in (offset..).zip(bytes) {
            self.0[place / 8] |= u64::from(*byte) << (8 * (place % 8));
        }
    }

    fn read(&self, change: impl Fn(u64, &mut [u8]) -> Option<()>) -> Result<Code, CodeError> {
        Code::read(self.address(), self.fingerprint(), KIND, &layout(), &mut |at, into| {
            crate::python::memory::read(std::process::id(), at, into)?;
            change(at, into)
        })
    }
}

fn layout() -> CodeLayout {
    Offsets::of(0x030b_07f0, &[]).unwrap().code
}

/// An interpreter of 3.11 in this process, whose code objects are forged.
pub(crate) fn interpreter() -> Interpreter {
    Interpreter::forged(KIND, Offsets::of(0x030b_07f0, &[]).unwrap())
}

/// Names in all widths of characters and lines are read; an instruction outside of the function is none of its.
#[test]
fn reads_names_and_lines() {
    let forged = Forged::new();
    let code = forged.read(|_, _| Some(())).unwrap();
    assert_eq!((&*code.name, &*code.file), ("été", "/x/ü.py"));
    let bytecode = forged.address() + layout().bytecode;
    assert_eq!(code.unit(bytecode - 2), Some(0));
    assert_eq!((code.unit(bytecode + 15), code.unit(bytecode + 16), code.unit(bytecode - 4)), (Some(7), None, None));
    assert_eq!([0, 1, 2, 3, 4, 6, 7].map(|unit| code.line(unit)), [40, 40, 43, 43, 40, 44, 44]);
    assert!(!code.is_shim());
}

/// A code object that is another one by now, none at all, or freed while it is read, is not believed.
#[test]
fn replaced_code_is_not_believed() {
    let forged = Forged::new();
    let read = |fingerprint, kind| {
        Code::read(forged.address(), fingerprint, kind, &layout(), &mut |at, into| {
            crate::python::memory::read(std::process::id(), at, into)
        })
    };
    assert_eq!(read(forged.fingerprint() ^ 1, KIND), Err(CodeError::Replaced));
    assert_eq!(read(0, KIND), Err(CodeError::Replaced));
    assert_eq!(read(forged.fingerprint(), KIND + 1), Err(CodeError::NoCode));
    let seen = std::cell::Cell::new(0);
    let torn = forged.read(|at, into| {
        if at == forged.address() {
            seen.set(seen.get() + 1);
            into[72] ^= u8::from(seen.get() == 2);
        }
        Some(())
    });
    assert_eq!(torn, Err(CodeError::Replaced));
}

/// Whatever stands in the memory that it points to, reading ends and stays within its limits.
#[test]
fn hostile_objects_are_bounded() {
    let forged = Forged::new();
    for fill in 0..=u8::MAX {
        let found = forged.read(|at, into| {
            if at != forged.address() {
                into.fill(fill);
            }
            Some(())
        });
        assert!(found.is_err() || found.is_ok_and(|code| code.size() < 8 * MAX_TEXT + MAX_LINES));
    }
    assert_eq!(forged.read(|at, _| (at == forged.address()).then_some(())), Err(CodeError::Unreadable));
}
