//! Names of kernel functions, from `/proc/kallsyms`.
//!
//! Format: one `ADDRESS TYPE NAME [MODULE]` a line (proc_pid_kallsyms, nm(1) for the types). Of text symbols (`t`, `T`, `w`, `W`)
//! the address, name and module are kept: 16 bytes each and one text of all names, some 3 MB for the 60,000 functions of a
//! distribution's kernel.

mod parse;

use std::fs::File;
use std::io::BufReader;

use flamekeeper_profile::Avma;

const KALLSYMS: &str = "/proc/kallsyms";
const MODULES: &str = "/proc/modules";

/// Kernel symbols that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KernelSymbolsError {
    /// The file could not be read.
    #[error("cannot read /proc/kallsyms ({0}): frames of the kernel stay without names")]
    Unreadable(#[from] std::io::Error),
    /// The kernel hides its addresses from this process.
    #[error(
        "all addresses in /proc/kallsyms are zero: the kernel shows them to processes with CAP_SYSLOG only (in a unit: \
         AmbientCapabilities=CAP_SYSLOG and ProtectKernelLogs=no), and to none where kernel.kptr_restrict is 2 \
         (sysctl -w kernel.kptr_restrict=1)"
    )]
    Hidden,
    /// The file has no text symbols: the kernel was built without `CONFIG_KALLSYMS`.
    #[error("/proc/kallsyms names no functions: the kernel was built without CONFIG_KALLSYMS")]
    Empty,
}

/// The name of a kernel address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSymbol<'a> {
    /// The function.
    pub name: &'a str,
    /// Its module, without brackets; none for the kernel's own image.
    pub module: Option<&'a str>,
}

/// A function and where its name stands.
#[derive(Clone, Copy, Debug)]
struct Entry {
    address: u64,
    name_start: u32,
    name_len: u16,
    /// Place in `modules` plus one; 0 is the kernel's own image.
    module: u16,
}

/// The functions of the running kernel and its modules, as they were when read.
#[derive(Debug)]
pub struct KernelSymbols {
    /// By address, each once.
    entries: Box<[Entry]>,
    names: Box<str>,
    modules: Box<[Module]>,
    /// Where code of the kernel's own image ends (`_etext`, `_einittext`), ascending.
    text_ends: Box<[u64]>,
}

#[derive(Clone, Debug)]
struct Module {
    name: Box<str>,
    /// The end of its memory, where `/proc/modules` tells.
    end: Option<u64>,
}

/// No function is longer; what lies further behind the last one of an area belongs to none.
pub const LONGEST_FUNCTION: u64 = 256 << 10;

impl KernelSymbols {
    /// Reads the symbols of the running kernel.
    ///
    /// # Errors
    /// [`KernelSymbolsError`] says how to make them readable.
    pub fn read() -> Result<Self, KernelSymbolsError> {
        let kallsyms = BufReader::with_capacity(64 << 10, File::open(KALLSYMS)?);
        // Only refines where modules end, so its absence (no module support) is no loss.
        let modules = File::open(MODULES).map(BufReader::new).ok();
        parse::parse(kallsyms, modules)
    }

    /// The function that an address lies in. None where it lies in no function: past the end of the text or of its module.
    #[must_use]
    pub fn name(&self, address: Avma) -> Option<KernelSymbol<'_>> {
        let after = self.entries.partition_point(|entry| entry.address <= address.0);
        let entry = self.entries.get(after.checked_sub(1)?)?;
        let module = usize::from(entry.module).checked_sub(1).and_then(|index| self.modules.get(index));
        let past_text = entry.module == 0 && self.text_ends.iter().any(|end| (entry.address..=address.0).contains(end));
        let past_module = module.and_then(|module| module.end).is_some_and(|end| address.0 >= end);
        if past_text || past_module || address.0 - entry.address >= LONGEST_FUNCTION {
            return None;
        }
        let start = usize::try_from(entry.name_start).ok()?;
        let name = self.names.get(start..start + usize::from(entry.name_len))?;
        Some(KernelSymbol { name, module: module.map(|module| &*module.name) })
    }

    /// How many functions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none; never, for symbols that were read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory that the symbols take.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of_val(&*self.entries) + self.names.len() + size_of_val(&*self.modules)
    }
}

#[cfg(test)]
mod tests;
