//! Java virtual machines (HotSpot): frames of generated code without frame pointers, their names, and the perf map on demand.
//!
//! Without `-XX:+PreserveFramePointer` compiled Java code uses the frame pointer as it likes, and a chain of frame pointers
//! breaks in it. But HotSpot knows the size of every compiled method's frame, and says where it keeps it ([`layout`]). So
//! the stack's copy is unwound by the machine's own records (`code`, `machine`), read from outside, and the same
//! records name the methods (`method`), interpreted ones too. What is inlined into a compiled method is not shown apart.
//!
//! Where the records cannot be read (no `CAP_SYS_PTRACE`, another machine than HotSpot, another processor than x86-64),
//! frames follow the frame pointer, and have the names of a perf map, which `attach` makes the machine write.

pub(crate) mod attach;
pub(crate) mod attacher;
mod code;
mod elf;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
pub mod layout;
pub(crate) mod machine;
pub mod memory;
mod method;

use std::sync::Arc;

use crate::jit::book::Memory as Allowance;
use crate::jit::names::Names;
use crate::jvm::layout::Layout;
use crate::jvm::machine::{JavaFrame, Machine, Registers};
use crate::jvm::memory::Remote;

/// Memory that the names of all machines may take, in bytes.
pub(crate) const MEMORY: usize = 8 << 20;

/// What is known of the machine in a process, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Java {
    machine: Option<Box<Machine>>,
}

impl Java {
    /// The frame at an address of generated code, if a machine's records were read and tell of it. `names` is the
    /// process's, where the reading is done; `at` is the address (in the call), whether it is the leaf, and the sample's time.
    pub(crate) fn frame(
        &mut self,
        (pid, names): (u32, &Names),
        at: (u64, bool, u64),
        regs: Registers,
        allowance: &Arc<Allowance>,
        stack: &impl Fn(u64) -> Result<u64, ()>,
    ) -> Option<JavaFrame> {
        if self.machine.is_none() {
            let layout = names.hotspot()?;
            self.machine = Some(Box::new(Machine::new(Arc::clone(layout), Arc::clone(allowance))));
        }
        self.machine.as_mut()?.frame(&Remote(pid), at, regs, stack)
    }

    /// The name of the code at an address that was sampled before the machine's records were found.
    pub(crate) fn name_at(&mut self, (pid, names): (u32, &Names), address: u64, now: u64, allowance: &Arc<Allowance>) -> Option<&str> {
        let nowhere = Registers { sp: 0, bp: 0 };
        let frame = self.frame((pid, names), (address, false, now), nowhere, allowance, &|_| Err(()))?;
        self.name(frame.name?)
    }

    /// A name by its number.
    pub(crate) fn name(&self, number: u32) -> Option<&str> {
        self.machine.as_ref()?.name(number)
    }
}

/// Whether a mapped file is HotSpot.
pub(crate) fn is_machine(path: &str) -> bool {
    path.ends_with("/libjvm.so")
}

/// Reads where the machine of a process keeps its records. Takes some milliseconds: not for the sampling thread.
pub(crate) fn discover(pid: u32) -> Option<Layout> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let entry = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?;
    let base = entry.maps().ok()?.into_iter().find_map(|map| match &map.pathname {
        procfs::process::MMapPath::Path(path) if map.offset == 0 && is_machine(&path.to_string_lossy()) => Some(map.address.0),
        _ => None,
    })?;
    Layout::read(&Remote(pid), base)
}
