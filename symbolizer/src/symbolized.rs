//! What an address is called, or why it has no name.

use std::sync::Arc;

use flamekeeper_profile::{BuildId, Svma, UnnamedReason};

/// Looks addresses up in the symbols of their objects.
pub trait Symbolize {
    /// Names an address that the object itself states. A return address must point into its call instruction (one less than
    /// where it returns to), as [`flamekeeper_profile::Location::address`] does.
    ///
    /// `path` is the object's path as the process saw it; an implementation that finds objects by identity alone ignores it.
    fn symbolize(&self, id: Option<&BuildId>, path: &str, address: Svma) -> Symbolized;

    /// The same for many addresses of one object, in their order: what can be found out once for all of them is.
    fn symbolize_all(&self, id: Option<&BuildId>, path: &str, addresses: &[Svma]) -> Vec<Symbolized> {
        addresses.iter().map(|address| self.symbolize(id, path, *address)).collect()
    }
}

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Symbolized {
    /// The functions there, **innermost first**; never empty. Shared, since the same address is asked for again and again;
    /// each frame too, since many addresses have the same: whoever has seen a frame knows it by its pointer.
    Frames(Arc<[Arc<SymbolFrame>]>),
    /// No name, and why.
    Unknown(UnnamedReason),
}

/// A function at a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolFrame {
    /// The demangled name.
    pub function: Arc<str>,
    /// The line that the function begins at, from 1; 0 where unknown.
    pub start_line: u32,
    /// Source file; empty where unknown.
    pub file: Arc<str>,
    /// Line in that file, from 1; 0 where unknown.
    pub line: u32,
    /// Whether the compiler inlined it into the next frame.
    pub inlined: bool,
}
