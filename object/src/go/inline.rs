//! Inlining trees: which calls a function's compiler replaced by the called function's code.
//!
//! A tree is an array of calls that the program of inlined calls refers to. Each says where in its parent it stood.
//! Sources: `cmd/internal/obj/inl.go`, `runtime/symtabinl.go`. Read from Go 1.18 on, since when such data lies at offsets
//! from a common base.

use std::borrow::Cow;

use super::layout::{Version, u32_at};

/// A call that was inlined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The name of the function that was called.
    pub name: Cow<'a, str>,
    /// The offset from the start of the function that the code of the call stands at; the line and the call there are those of the
    /// caller.
    pub at: u32,
    /// The line that the called function begins at, from Go 1.20 on; 0 where it is not stated.
    pub start_line: u32,
}

/// The same with the offset of the name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawCall {
    pub(crate) name: u64,
    pub(crate) at: u32,
    pub(crate) start_line: u32,
}

/// All trees of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InlineTrees<'a> {
    version: Version,
    /// From the base of data on.
    bytes: &'a [u8],
}

impl<'a> InlineTrees<'a> {
    pub(crate) fn new(version: Version, bytes: &'a [u8]) -> Option<Self> {
        Self::entry_len(version).map(|_| Self { version, bytes })
    }

    /// Bytes of a call; none for versions whose trees are not read.
    const fn entry_len(version: Version) -> Option<u64> {
        match version {
            Version::Go12 | Version::Go116 => None,
            Version::Go118 => Some(20),
            Version::Go120 => Some(16),
        }
    }

    /// A call of the tree that begins at an offset from the base of data.
    pub(crate) fn call(&self, tree: u64, index: u32) -> Option<RawCall> {
        let at = tree.checked_add(u64::from(index).checked_mul(Self::entry_len(self.version)?)?)?;
        let at = usize::try_from(at).ok()?;
        let (name, parent) = if self.version == Version::Go118 { (12, 16) } else { (4, 8) };
        let field = |offset: usize| u32_at(self.bytes, at.checked_add(offset)?);
        let start_line = if self.version == Version::Go120 { line(field(12)?) } else { 0 };
        Some(RawCall { name: u64::from(field(name)?), at: field(parent)?, start_line })
    }
}

/// A line as the table states it, a signed number that compilers leave at 0 where they know none.
pub(crate) fn line(stated: u32) -> u32 {
    i32::try_from(stated).map_or(0, i32::unsigned_abs)
}
