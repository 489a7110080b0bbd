//! Where the names of kernel functions come from: asked of the kernel one by one, or where that cannot be, read at the start.

use flamekeeper_profile::Avma;
use flamekeeper_symbolizer::kernel::{KernelSymbol, KernelSymbols};

use super::ask::Asking;

/// A source of names.
#[derive(Debug)]
pub(super) enum Names {
    /// The kernel is asked.
    Asked(Asking),
    /// `/proc/kallsyms` was read.
    Read(KernelSymbols),
    /// There are none.
    Absent,
}

impl Names {
    /// The best source that this host allows. Without any, frames are addresses in `[kernel]`; the log says why.
    pub(super) fn open() -> Self {
        Asking::new().map_or_else(
            |error| {
                tracing::debug!(%error, "the kernel's functions are read from /proc/kallsyms, not asked for one by one");
                Self::read()
            },
            Self::Asked,
        )
    }

    fn read() -> Self {
        KernelSymbols::read().map_or_else(
            |error| {
                tracing::warn!(%error, "kernel frames stay without names");
                Self::Absent
            },
            Self::Read,
        )
    }

    /// Whether there can be names.
    pub(super) const fn any(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// The function that an address lies in.
    pub(super) fn name(&mut self, address: Avma) -> Option<KernelSymbol<'_>> {
        if let Self::Asked(asking) = self
            && let Err(error) = asking.ask(address)
        {
            tracing::warn!(%error, "the kernel does not answer which function an address is in: reading all of them");
            *self = Self::read();
        }
        match self {
            Self::Asked(asking) => asking.answer(),
            Self::Read(symbols) => symbols.name(address),
            Self::Absent => None,
        }
    }
}
