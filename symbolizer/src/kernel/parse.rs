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
    const LINE: usize = 1 << 10;
    let mut reader = reader.take(MAX_BYTES);
    let mut cut = Vec::new();
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        // The kernel answers each reading with whole lines, which need no copy.
        if let Some(last) = buffer.iter().rposition(|byte| *byte == b'\n') {
            buffer[..last].split(|byte| *byte == b'\n').for_each(|line| each(line[..line.len().min(LINE)].trim_ascii_end()));
            reader.consume(last + 1);
        } else {
            cut.clear();
            reader.by_ref().take(LINE as u64).read_until(b'\n', &mut cut)?;
            each(cut.trim_ascii_end());
        }
    }
}

/// `ADDRESS KIND NAME`, and a tabulator and `[MODULE]` where it is in one. Of a kernel's 200,000 lines most are data, padding or labels:
/// that is looked at first.
fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    let (address, rest) = line.split_at_checked(line.iter().position(|byte| *byte == b' ')?)?;
    let [_, kind @ (b't' | b'T' | b'w' | b'W'), b' ', rest @ ..] = rest else { return None };
    // Padding before a function, one for each: they would double the table and never name a sample of interest. Mapping
    // symbols of ARM and local labels are no functions.
    if rest.starts_with(b"__pfx_") || rest.starts_with(b"$") || rest.starts_with(b".L") {
        return None;
    }
    let (name, module) = match rest.iter().position(u8::is_ascii_whitespace) {
        Some(end) => (&rest[..end], rest[end..].trim_ascii_start().strip_prefix(b"[").and_then(|module| module.strip_suffix(b"]"))),
        None => (rest, None),
    };
    let address = u64::from_str_radix(std::str::from_utf8(address).ok()?, 16).ok()?;
    let module = module.and_then(|module| std::str::from_utf8(module).ok());
    Some(Line { address, kind: *kind, name: std::str::from_utf8(name).ok()?, module })
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
