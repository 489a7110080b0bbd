//! What an address is called, or why it has no name.

use flamekeeper_profile::{BuildId, Svma, UnnamedReason};

/// Looks addresses up in the symbols of their objects.
pub trait Symbolize {
    /// Names an address that the object itself states. A return address must point into its call instruction (one less than
    /// where it returns to), as [`flamekeeper_profile::Location::address`] does.
    ///
    /// `path` is the object's path as the process saw it; an implementation that finds objects by identity alone ignores it.
    fn symbolize(&self, id: Option<&BuildId>, path: &str, address: Svma) -> Symbolized;
}

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Symbolized {
    /// The functions there, **innermost first**; never empty.
    Frames(Vec<SymbolFrame>),
    /// No name, and why.
    Unknown(UnnamedReason),
}

/// A function at a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolFrame {
    /// The demangled name.
    pub function: String,
    /// Source file; empty where unknown.
    pub file: String,
    /// Line in that file, from 1; 0 where unknown.
    pub line: u32,
    /// Whether the compiler inlined it into the next frame.
    pub inlined: bool,
}
