//! Names of kernel functions. They live on this host only, so the agent gives them, not the collector.

use std::collections::HashMap;

use flamekeeper_profile::{Avma, FrameKind, LocationId, ObjectId, Svma, Tables};
use flamekeeper_symbolizer::kernel::KernelSymbols;

/// Object of the kernel itself; a module is `[name]`.
const KERNEL: &str = "[kernel]";

/// Kernel functions as locations of the current window's tables.
#[derive(Debug)]
pub(crate) struct KernelFrames {
    symbols: Option<KernelSymbols>,
    /// What an address is in the current window's tables.
    known: HashMap<u64, LocationId, foldhash::fast::RandomState>,
}

impl KernelFrames {
    /// Reads the kernel's symbols. Without them frames are addresses in `[kernel]`; the log says why.
    pub(crate) fn read() -> Self {
        let symbols = match KernelSymbols::read() {
            Ok(symbols) => Some(symbols),
            Err(error) => {
                tracing::warn!(%error, "kernel frames stay without names");
                None
            }
        };
        Self { symbols, known: HashMap::default() }
    }

    /// The location of an address that points into a kernel function. Addresses of one function are one location: the
    /// kernel's addresses differ from boot to boot, and there are no lines to tell them apart by.
    pub(crate) fn location(&mut self, address: Avma, tables: &mut Tables) -> LocationId {
        let symbols = self.symbols.as_ref();
        *self.known.entry(address.0).or_insert_with(|| match symbols.and_then(|symbols| symbols.name(address)) {
            Some(symbol) => {
                let object = match symbol.module {
                    Some(module) => tables.intern_object(None, &format!("[{module}]")),
                    None => kernel(tables),
                };
                tables.intern_named(FrameKind::Kernel, Some(object), Svma(0), symbol.name)
            }
            None => {
                let object = kernel(tables);
                tables.intern_address(FrameKind::Kernel, Some(object), Svma(address.0))
            }
        })
    }

    /// A new window begins, with new tables.
    pub(crate) fn begin_window(&mut self) {
        self.known.clear();
    }
}

fn kernel(tables: &mut Tables) -> ObjectId {
    tables.intern_object(None, KERNEL)
}
