//! How far the stack pointer is from where the caller left it, for every instruction of a Go program.

use std::collections::BTreeMap;

use flamekeeper_profile::Svma;

use super::layout::{Layout, RECORD, Record};
use super::pc_values::{PcValues, program_len, write_program};
use super::window::Window;
use crate::limits;

/// How to find the caller of a function from an address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackRule {
    /// Where the stack pointer was when the function was entered: so many bytes above where it is now.
    Depth(u64),
    /// The function has no caller.
    Root,
    /// The function runs on one stack and was called on another, as the runtime's own code and signal handlers do.
    OtherStack,
    /// The table does not say.
    Unknown,
}

/// Code from this offset of the text on follows a program, or is of one of the kinds below.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    rule: u32,
}

const ROOT: u32 = u32::MAX;
const OTHER_STACK: u32 = u32::MAX - 1;
const UNKNOWN: u32 = u32::MAX - 2;

/// The stack depths of a Go program, reduced to what unwinding needs: 8 bytes a function and each distinct program once.
/// Lookups do not allocate.
pub struct StackMap {
    /// Address that offsets are from.
    base: u64,
    /// In order of address.
    entries: Box<[Entry]>,
    /// Offset behind the last function.
    end: u32,
    programs: Box<[u8]>,
    quantum: u32,
    functions: usize,
}

impl std::fmt::Debug for StackMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StackMap").field("base", &self.base).field("functions", &self.functions).finish_non_exhaustive()
    }
}

/// Deepest frame that is believed: Go's largest stacks are 1 GB, its frames far below.
const DEEPEST: u64 = 64 << 20;
/// Longest program that is read: that of the largest function known has some 20 KB.
const PROGRAM: usize = 64 << 10;
/// Values of a program that are walked in a lookup at most: longer ones are cut into several.
const STEPS: usize = 64;
/// Longest name that matters here.
const NAME: usize = 40;

impl StackMap {
    /// Reads the stack depths of a table of at most `len` bytes. `read` fills a buffer from an offset of the table, or says
    /// that it cannot; it is asked for pieces of some 100 KB. `text_start` is where the text begins, for tables whose
    /// header does not say.
    ///
    /// None where the bytes are no table, or one that would take more than [`limits::GO_STACK_MAP`].
    pub fn read(len: u64, text_start: Option<Svma>, read: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Option<Self> {
        let mut window = Window::new(&mut *read, len);
        let layout = Layout::parse(window.get(0, super::layout::HEADER)?, len)?;
        drop(window);
        if layout.functions.saturating_mul(8) > limits::GO_STACK_MAP as u64 {
            return None;
        }
        let mut map = Self::read_entries(&layout, len, text_start, read)?;
        map.read_programs(&layout, len, read)?;
        map.cut_programs()?;
        Some(map)
    }

    /// The entries, whose rules are offsets of the table's programs yet.
    fn read_entries(layout: &Layout, len: u64, text_start: Option<Svma>, read: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Option<Self> {
        let index_len = usize::try_from(layout.index_len()).ok()?;
        let step = usize::try_from(layout.entry_len()).ok()?;
        let mut index = vec![0; index_len];
        if !read(layout.index, &mut index) {
            return None;
        }
        let first = layout.entry(&index)?.0;
        let base = if layout.is_relative() { text_start.map_or(layout.text_start, |start| start.0) } else { first };
        let offset = |address: u64| u32::try_from(if layout.is_relative() { address } else { address.checked_sub(base)? }).ok();
        let mut entries: Vec<Entry> = Vec::with_capacity(usize::try_from(layout.functions).ok()?);
        for entry in index.chunks_exact(step) {
            let (address, record) = layout.entry(entry)?;
            let start = offset(address)?;
            if entries.last().is_some_and(|last| last.start > start) {
                return None;
            }
            // For now the offset of the record, so that records and names are read by windows of their own.
            entries.push(Entry { start, rule: u32::try_from(record).ok()? });
        }
        let end = offset(layout.entry(index.get(index_len - step / 2..)?)?.0)?;
        let mut flags = Vec::new();
        let mut window = Window::new(&mut *read, len);
        for (at, entry) in entries.iter_mut().enumerate() {
            let place = layout.records().checked_add(u64::from(entry.rule))?;
            let record = window.get(place, RECORD).and_then(|bytes| layout.record(bytes));
            entry.rule = record.map_or(UNKNOWN, |record| program_of(&record));
            if let Some(record) = record.filter(|record| is_special(layout, record)) {
                flags.push((at, record));
            }
        }
        drop(window);
        let mut window = Window::new(read, len);
        for (at, record) in flags {
            let name = layout.names.checked_add(record.name).and_then(|place| window.get(place, NAME));
            let name = name.and_then(|bytes| bytes.split(|byte| *byte == 0).next()).unwrap_or_default();
            if let Some(rule) = special_rule(&record, name) {
                entries[at].rule = rule;
            }
        }
        let functions = entries.len();
        Some(Self { base, entries: entries.into(), end, programs: Box::default(), quantum: layout.quantum, functions })
    }

    /// Copies each distinct program once, and makes the entries refer to the copies.
    fn read_programs(&mut self, layout: &Layout, len: u64, read: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Option<()> {
        let mut places: BTreeMap<u32, u32> =
            self.entries.iter().filter(|entry| entry.rule < UNKNOWN).map(|entry| (entry.rule, UNKNOWN)).collect();
        let mut window = Window::new(read, len);
        let mut programs = Vec::new();
        let room = limits::GO_STACK_MAP.saturating_sub(self.entries.len() * size_of::<Entry>());
        for (from, to) in &mut places {
            let bytes = layout.programs.checked_add(u64::from(*from)).and_then(|place| window.get(place, PROGRAM));
            let Some(bytes) = bytes else { continue };
            let Some(program) = program_len(bytes).and_then(|length| bytes.get(..length)) else { continue };
            *to = u32::try_from(programs.len()).ok()?;
            programs.extend_from_slice(program);
            if programs.len() > room {
                return None;
            }
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.rule < UNKNOWN) {
            entry.rule = places.get(&entry.rule).copied().unwrap_or(UNKNOWN);
        }
        self.programs = programs.into();
        Some(())
    }

    /// Cuts programs that are long into several, each with an entry of its own, so that a lookup is short whatever the file says.
    fn cut_programs(&mut self) -> Option<()> {
        let mut programs = std::mem::take(&mut self.programs).into_vec();
        let mut entries = Vec::with_capacity(self.entries.len());
        for (at, entry) in self.entries.iter().enumerate() {
            let program = if entry.rule < UNKNOWN { programs.get(entry.rule as usize..).unwrap_or(&[]) } else { &[] };
            let program = program.get(..program_len(program).unwrap_or(0)).unwrap_or(&[]);
            if program.len() <= 2 * STEPS {
                entries.push(*entry);
                continue;
            }
            let size = self.entries.get(at + 1).map_or(self.end, |next| next.start).saturating_sub(entry.start);
            let rows: Vec<(u32, i32)> = PcValues::new(program, self.quantum).collect();
            let mut start = 0;
            for rows in rows.chunks(STEPS) {
                if start >= size {
                    break;
                }
                entries.push(Entry { start: entry.start + start, rule: u32::try_from(programs.len()).ok()? });
                start = write_program(rows, start, self.quantum, &mut programs);
                if programs.len() + entries.len() * size_of::<Entry>() > limits::GO_STACK_MAP {
                    return None;
                }
            }
        }
        (self.entries, self.programs) = (entries.into(), programs.into());
        Some(())
    }

    /// How to find the caller from an address. A return address must point into its call instruction. None where the
    /// address is in no Go function.
    #[must_use]
    pub fn rule(&self, address: Svma) -> Option<StackRule> {
        let offset = self.offset(address)?;
        let at = self.entries.partition_point(|entry| entry.start <= offset).checked_sub(1)?;
        let entry = self.entries.get(at)?;
        Some(match entry.rule {
            ROOT => StackRule::Root,
            OTHER_STACK => StackRule::OtherStack,
            UNKNOWN => StackRule::Unknown,
            program => {
                let program = self.programs.get(program as usize..)?;
                let depth = PcValues::new(program, self.quantum).at(offset - entry.start);
                let depth = depth.and_then(|depth| u64::try_from(depth).ok()).filter(|depth| *depth <= DEEPEST);
                depth.map_or(StackRule::Unknown, StackRule::Depth)
            }
        })
    }

    /// Whether an address lies in Go's code.
    #[must_use]
    pub fn covers(&self, address: Svma) -> bool {
        self.offset(address).is_some_and(|offset| self.entries.first().is_some_and(|first| first.start <= offset))
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.entries.len() * size_of::<Entry>() + self.programs.len()
    }

    /// How many functions it knows.
    #[must_use]
    pub const fn functions(&self) -> usize {
        self.functions
    }

    fn offset(&self, address: Svma) -> Option<u32> {
        let offset = address.0.checked_sub(self.base)?;
        u32::try_from(offset).ok().filter(|offset| *offset < self.end)
    }
}

fn program_of(record: &Record) -> u32 {
    // No program begins at offset 0.
    u32::try_from(record.stack).ok().filter(|program| *program != 0 && *program < UNKNOWN).unwrap_or(UNKNOWN)
}

/// Whether the name of a function must be known. Only versions that do not mark what is special need all names.
fn is_special(layout: &Layout, record: &Record) -> bool {
    // Assembly, from Go 1.18 on: the way back from a signal is.
    const ASSEMBLY: u8 = 4;
    !layout.is_relative() || record.flags & (Record::ROOT | Record::SETS_STACK | ASSEMBLY) != 0
}

/// The rule of a function whose stack depth says nothing about its caller.
fn special_rule(record: &Record, name: &[u8]) -> Option<u32> {
    // Go marks the entry of signal handlers as one that nothing calls; in truth what it interrupted is below, elsewhere.
    if name.starts_with(b"runtime.sigtramp") || name.starts_with(b"runtime.sigreturn") || name.starts_with(b"runtime.cgoSigtramp") {
        return Some(OTHER_STACK);
    }
    let marked_root = record.flags & Record::ROOT != 0;
    if marked_root || matches!(name, b"runtime.goexit" | b"runtime.mstart" | b"runtime.rt0_go" | b"_rt0_amd64" | b"_rt0_arm64") {
        return Some(ROOT);
    }
    // The last three write the stack pointer only in some versions and architectures; their names are as old as Go.
    let switches = [&b"runtime.systemstack"[..], b"runtime.mcall", b"runtime.asmcgocall", b"runtime.morestack", b"runtime.gogo"];
    if switches.contains(&name) || name.starts_with(b"runtime.cgocallback") && record.flags & Record::SETS_STACK != 0 {
        return Some(OTHER_STACK);
    }
    if record.flags & Record::SETS_STACK == 0 {
        return None;
    }
    // The runtime's own switch stacks (to ask the vdso for the time, for example); others align their frame, and have
    // saved the frame pointer before.
    let of_runtime = name.starts_with(b"runtime.") || name == b"time.now";
    Some(if of_runtime { OTHER_STACK } else { UNKNOWN })
}
