//! Code objects: the names, the file and the lines of a Python function, read from the process's memory. Pure: memory is
//! read through a closure, every length is bounded, and all of it is taken for hostile.

use crate::python::lines::line_of;
use crate::python::offsets::CodeLayout;
use crate::python::program::{MIX, NAME_POINTERS};

/// Reads memory of the process at an address into the buffer; none where it cannot be read as a whole.
pub type Read<'a> = dyn FnMut(u64, &mut [u8]) -> Option<()> + 'a;

/// Bytes of a code object that are looked at.
const HEAD: usize = 512;
/// Characters of a name or path that are kept; the rest is cut.
const MAX_TEXT: usize = 1024;
/// Bytes of a line table beyond which a function has no lines. The largest of the standard library has some 8 KB.
const MAX_LINES: usize = 256 << 10;
/// `ob_type` in `PyObject`, and `ob_size` in `PyVarObject`.
const TYPE: usize = 8;
const SIZE: usize = 16;
/// The text of a `PyBytesObject`.
const BYTES_TEXT: u64 = 32;
/// `length` and `state` in `PyASCIIObject`.
const TEXT_LENGTH: usize = 16;
const TEXT_STATE: usize = 32;

/// A Python function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Its qualified name.
    pub name: Box<str>,
    /// Its file.
    pub file: Box<str>,
    first_line: u32,
    lines: Box<[u8]>,
    /// Address of the bytecode.
    bytecode: u64,
    /// Code units before the first that counts as the function's own, and in all.
    traceable: u32,
    units: u32,
}

/// Why a code object was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Its memory, or that of its names, is not there any more.
    #[error("memory of a code object cannot be read")]
    Unreadable,
    /// Something else is at its address now.
    #[error("a code object was replaced")]
    Replaced,
    /// It is none.
    #[error("what a frame runs is no code object")]
    NoCode,
}

impl Code {
    /// Reads the code object that had this fingerprint when it was sampled. `kind` is the address of `PyCode_Type`.
    ///
    /// # Errors
    /// [`CodeError`] says why it is not that code object, or not whole.
    pub fn read(address: u64, fingerprint: u64, kind: u64, layout: &CodeLayout, read: &mut Read<'_>) -> Result<Self, CodeError> {
        let head = Head::read(address, layout, read)?;
        if fingerprint == 0 || head.fingerprint() != fingerprint {
            return Err(CodeError::Replaced);
        }
        if head.kind != kind {
            return Err(CodeError::NoCode);
        }
        let [file, name, qualified, lines] = head.names;
        let qualified = if qualified == 0 { name } else { qualified };
        let code = Self {
            name: text(qualified, layout, read).ok_or(CodeError::Unreadable)?,
            file: text(file, layout, read).ok_or(CodeError::Unreadable)?,
            first_line: head.first_line,
            lines: bytes(lines, read).ok_or(CodeError::Unreadable)?,
            bytecode: address.wrapping_add(layout.bytecode),
            traceable: head.traceable,
            units: head.units,
        };
        // What was read in between may have been freed and used anew; then the code object is not what it was either.
        if Head::read(address, layout, read)? != head {
            return Err(CodeError::Replaced);
        }
        Ok(code)
    }

    /// The code unit that a frame's instruction is; none where it lies outside the function. Before the first instruction
    /// the interpreter keeps an address just before the bytecode.
    #[must_use]
    pub fn unit(&self, instruction: u64) -> Option<u32> {
        if instruction.wrapping_add(2) == self.bytecode {
            return Some(0);
        }
        let unit = instruction.checked_sub(self.bytecode)? / 2;
        u32::try_from(unit).ok().filter(|unit| *unit < self.units)
    }

    /// The line of a code unit. Instructions without a line, such as those before the function's own, are its first line's.
    #[must_use]
    pub fn line(&self, unit: u32) -> u32 {
        if unit < self.traceable {
            return self.first_line;
        }
        line_of(&self.lines, self.first_line, unit).unwrap_or(self.first_line)
    }

    /// Whether it is a piece of the interpreter's own that calls a function on behalf of another (`_Py_InitCleanup` since
    /// 3.12): no instruction counts as its own, and CPython shows it in no traceback (`_PyFrame_IsIncomplete`).
    #[must_use]
    pub const fn is_shim(&self) -> bool {
        self.traceable >= self.units
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.file.len() + self.lines.len()
    }
}

/// What a code object says in its fixed part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    kind: u64,
    names: [u64; NAME_POINTERS],
    first_line: u32,
    traceable: u32,
    units: u32,
}

impl Head {
    fn read(address: u64, layout: &CodeLayout, read: &mut Read<'_>) -> Result<Self, CodeError> {
        let mut bytes = [0; HEAD];
        let wanted = usize::try_from(layout.bytecode).ok().and_then(|wanted| bytes.get_mut(..wanted)).ok_or(CodeError::NoCode)?;
        read(address, wanted).ok_or(CodeError::Unreadable)?;
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let mut names = [0; NAME_POINTERS];
        for (name, place) in names.iter_mut().zip(0..) {
            *name = word(&bytes, at(layout.names + 8 * place)).ok_or(CodeError::NoCode)?;
        }
        let number = |offset: u64| half_word(&bytes, at(offset)).ok_or(CodeError::NoCode);
        Ok(Self {
            kind: word(&bytes, TYPE).ok_or(CodeError::NoCode)?,
            names,
            first_line: number(layout.first_line)?,
            traceable: number(layout.first_traceable)?,
            units: number(SIZE as u64)?,
        })
    }

    /// As [`super::program`] mixes it.
    fn fingerprint(&self) -> u64 {
        let mix = i64::from(MIX).cast_unsigned();
        self.names.iter().fold(0_u64, |sum, pointer| sum.wrapping_mul(mix).wrapping_add(*pointer))
    }
}

/// A compact `str`, as text; invalid characters become the replacement character.
fn text(address: u64, layout: &CodeLayout, read: &mut Read<'_>) -> Option<Box<str>> {
    let mut head = [0; 40];
    read(address, &mut head)?;
    let length = usize::try_from(word(&head, TEXT_LENGTH)?).ok()?.min(MAX_TEXT);
    let state = half_word(&head, TEXT_STATE)?;
    // Two bits say whether it is interned, three its kind, which is never 0. Should the first field have 16 bits, as in builds
    // without the lock, the kind's place is within it and 0. What follows the first byte may be anything.
    let state = if state >> 2 & 7 == 0 { state >> 14 } else { state };
    let (kind, compact, ascii) = (state >> 2 & 7, state >> 5 & 1 == 1, state >> 6 & 1 == 1);
    if !compact {
        return None;
    }
    let start = address.checked_add(if ascii { layout.ascii } else { layout.unicode })?;
    let mut bytes = vec![0; length * kind as usize];
    read(start, &mut bytes)?;
    let wide = |character: u32| char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER);
    let text: String = match kind {
        1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
        2 => bytes.as_chunks::<2>().0.iter().map(|unit| wide(u16::from_ne_bytes(*unit).into())).collect(),
        4 => bytes.as_chunks::<4>().0.iter().map(|unit| wide(u32::from_ne_bytes(*unit))).collect(),
        _ => return None,
    };
    Some(text.into())
}

/// A `bytes` object. One that is too long yields nothing, and so no lines.
fn bytes(address: u64, read: &mut Read<'_>) -> Option<Box<[u8]>> {
    let mut head = [0; 24];
    read(address, &mut head)?;
    let length = usize::try_from(word(&head, SIZE)?).ok().filter(|length| *length <= MAX_LINES).unwrap_or_default();
    let mut bytes = vec![0; length];
    read(address.checked_add(BYTES_TEXT)?, &mut bytes)?;
    Some(bytes.into())
}

/// The 64-bit word at an offset.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<8>().map(|word| u64::from_ne_bytes(*word))
}

fn half_word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|word| u32::from_ne_bytes(*word))
}

#[cfg(test)]
pub(crate) mod tests;
