//! Reading `/proc/kallsyms` and `/proc/modules`, with bounds.

use std::collections::HashMap;
use std::io::{BufRead, Read as _};

use super::{Entry, KernelSymbols, KernelSymbolsError, Module};

/// Bytes read of either file: a kernel with all modules loaded has some 20 MB.
const MAX_BYTES: u64 = 256 << 20;

/// Names that only mark a place; where a function begins there as well, it has the say.
const MARKERS: [&str; 6] = ["_text", "_stext", "_sinittext", "__init_begin", "__entry_text_start", "__irqentry_text_start"];
/// Names that mark the end of an area of code.
const ENDS: [&str; 2] = ["_etext", "_einittext"];

/// Symbols while they are read, in the order of the file.
#[derive(Default)]
struct Reading {
    entries: Vec<(Entry, Rank)>,
    names: String,
    modules: Vec<Module>,
    module_index: HashMap<Box<str>, u16>,
    text_ends: Vec<u64>,
    seen: bool,
}

/// Which of several names of one address is taken: the greatest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    function: bool,
    global: bool,
    /// `__x64_sys_read` loses against `sys_read`.
    few_underscores: bool,
}

struct Line<'a> {
    address: u64,
    kind: u8,
    name: &'a str,
    module: Option<&'a str>,
}

pub(super) fn parse(kallsyms: impl BufRead, modules: Option<impl BufRead>) -> Result<KernelSymbols, KernelSymbolsError> {
    let mut reading = Reading::default();
    each_line(kallsyms, |line| {
        if let Some(line) = parse_line(line) {
            reading.add(&line);
        }
    })?;
    if let Some(modules) = modules {
        each_line(modules, |line| reading.module_end(line))?;
    }
    reading.finish()
}

/// Calls `each` with every line, without its end. Lines over 1 KiB, which no kernel writes, are cut.
fn each_line(reader: impl BufRead, mut each: impl FnMut(&[u8])) -> Result<(), std::io::Error> {
    const LINE: u64 = 1 << 10;
    let mut reader = reader.take(MAX_BYTES);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        each(line.trim_ascii_end());
    }
}

/// `ADDRESS KIND NAME`, and `[MODULE]` where it is in one. Of a kernel's 200,000 lines half are data, so that is looked at first.
fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    let mut fields = line.split(|byte| byte.is_ascii_whitespace()).filter(|field| !field.is_empty());
    let address = fields.next()?;
    let kind = *fields.next()?.first()?;
    if !matches!(kind, b't' | b'T' | b'w' | b'W') {
        return None;
    }
    let address = u64::from_str_radix(std::str::from_utf8(address).ok()?, 16).ok()?;
    let name = std::str::from_utf8(fields.next()?).ok()?;
    let module = fields.next().and_then(|module| std::str::from_utf8(module.strip_prefix(b"[")?.strip_suffix(b"]")?).ok());
    Some(Line { address, kind, name, module })
}

impl Reading {
    fn add(&mut self, line: &Line<'_>) {
        self.seen = true;
        // Addresses are hidden as zeros; per-CPU symbols and the like are low, and no code.
        if line.address == 0 {
            return;
        }
        if line.module.is_none() && ENDS.contains(&line.name) {
            self.text_ends.push(line.address);
            return;
        }
        // Padding before a function, one for each: they would double the table and never name a sample of interest. Mapping
        // symbols of ARM and local labels are no functions.
        if line.name.starts_with("__pfx_") || line.name.starts_with('$') || line.name.starts_with(".L") {
            return;
        }
        let (Ok(name_start), Ok(name_len)) = (u32::try_from(self.names.len()), u16::try_from(line.name.len())) else { return };
        let Some(module) = line.module.map_or(Some(0), |module| self.module(module)) else { return };
        self.names.push_str(line.name);
        let rank = Rank {
            function: !MARKERS.contains(&line.name),
            global: line.kind.is_ascii_uppercase(),
            few_underscores: !line.name.starts_with("__"),
        };
        self.entries.push((Entry { address: line.address, name_start, name_len, module }, rank));
    }

    /// The number of a module, from 1. A kernel has some hundred; beyond 65,534 symbols of further ones are left out.
    fn module(&mut self, name: &str) -> Option<u16> {
        if let Some(number) = self.module_index.get(name) {
            return Some(*number);
        }
        let number = u16::try_from(self.modules.len() + 1).ok()?;
        self.modules.push(Module { name: name.into(), end: None });
        self.module_index.insert(name.into(), number);
        Some(number)
    }

    /// `NAME SIZE REFERENCES USERS STATE ADDRESS`: proc(5). Since Linux 6.4 a module's code and data are apart and the address
    /// is that of the code, so the end is an upper bound.
    fn module_end(&mut self, line: &[u8]) {
        let Ok(line) = std::str::from_utf8(line) else { return };
        let mut fields = line.split_ascii_whitespace();
        let Some(number) = fields.next().and_then(|name| self.module_index.get(name)) else { return };
        let size = fields.next().and_then(|size| size.parse::<u64>().ok());
        let address = fields.nth(3).and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok());
        let end = address.filter(|address| *address != 0).zip(size).and_then(|(address, size)| address.checked_add(size));
        if let Some(module) = self.modules.get_mut(usize::from(*number) - 1) {
            module.end = end;
        }
    }

    fn finish(mut self) -> Result<KernelSymbols, KernelSymbolsError> {
        if self.entries.is_empty() {
            return Err(if self.seen { KernelSymbolsError::Hidden } else { KernelSymbolsError::Empty });
        }
        // Of equal addresses the best first; the sort is stable, so the file's order decides between equals.
        self.entries.sort_by_key(|(entry, rank)| (entry.address, std::cmp::Reverse(*rank)));
        self.entries.dedup_by_key(|(entry, _)| entry.address);
        self.text_ends.sort_unstable();
        Ok(KernelSymbols {
            entries: self.entries.into_iter().map(|(entry, _)| entry).collect(),
            names: self.names.into_boxed_str(),
            modules: self.modules.into_boxed_slice(),
            text_ends: self.text_ends.into_boxed_slice(),
        })
    }
}
