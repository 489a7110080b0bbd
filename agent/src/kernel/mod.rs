//! Names of kernel functions. They live on this host only, so the agent gives them, not the collector.

mod ask;
mod names;

use std::collections::HashMap;

use flamekeeper_profile::{Avma, FrameKind, LocationId, ObjectId, Svma, Tables};

use names::Names;

/// The function that runs soft interrupts: the first since 6.9, the second before.
const SOFT_INTERRUPTS: [&str; 2] = ["handle_softirqs", "__do_softirq"];
/// Code that idle CPUs are met in is a few dozen addresses; more than this is somebody's mischief.
const MOST_IDLE_ADDRESSES: usize = 16 << 10;
/// Object of the kernel itself; a module is `[name]`.
const KERNEL: &str = "[kernel]";

/// Kernel functions as locations of the current window's tables.
#[derive(Debug)]
pub(crate) struct KernelFrames {
    names: Names,
    /// What an address is in the current window's tables.
    known: HashMap<u64, LocationId, foldhash::fast::RandomState>,
    /// Whether an address of an idle CPU lies in the function that runs soft interrupts.
    soft_interrupt: HashMap<u64, bool, foldhash::fast::RandomState>,
}

impl KernelFrames {
    /// Finds out where names come from. Without them frames are addresses in `[kernel]`; the log says why.
    pub(crate) fn open() -> Self {
        Self { names: Names::open(), known: HashMap::default(), soft_interrupt: HashMap::default() }
    }

    /// Frames without names, for tests that the host must have no part in.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn nameless() -> Self {
        Self { names: Names::Absent, known: HashMap::default(), soft_interrupt: HashMap::default() }
    }

    /// The location of an address that points into a kernel function. Addresses of one function are one location: the
    /// kernel's addresses differ from boot to boot, and there are no lines to tell them apart by.
    pub(crate) fn location(&mut self, address: Avma, tables: &mut Tables) -> LocationId {
        let names = &mut self.names;
        *self.known.entry(address.0).or_insert_with(|| match names.name(address) {
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

    /// Whether one of these addresses of a call chain lies in the function that runs soft interrupts (what network and block
    /// devices have interrupted for). No without symbols, so that an idle CPU is not held for a busy one.
    pub(crate) fn in_soft_interrupt(&mut self, mut addresses: impl Iterator<Item = Avma>) -> bool {
        if !self.names.any() {
            return false;
        }
        if self.soft_interrupt.len() > MOST_IDLE_ADDRESSES {
            self.soft_interrupt.clear();
        }
        let (known, names) = (&mut self.soft_interrupt, &mut self.names);
        addresses.any(|address| {
            let of_function = || names.name(address).is_some_and(|symbol| SOFT_INTERRUPTS.contains(&symbol.name));
            *known.entry(address.0).or_insert_with(of_function)
        })
    }

    /// A new window begins, with new tables.
    pub(crate) fn begin_window(&mut self) {
        self.known.clear();
    }
}

/// Whether the kernel says which function an address lies in, without `/proc/kallsyms`.
pub(crate) fn names_functions() -> bool {
    ask::Asking::new().is_ok()
}

fn kernel(tables: &mut Tables) -> ObjectId {
    tables.intern_object(None, KERNEL)
}
