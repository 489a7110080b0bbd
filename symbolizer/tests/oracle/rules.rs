//! Why an answer of a tool may differ from ours: rules over facts of the program that neither answer was made from.

use std::collections::BTreeSet;
use std::path::Path;

use flamekeeper_object::ObjectFile;
use gimli::{Dwarf, EndianSlice, LittleEndian};

use crate::programs::run;
use crate::tools::{Frame, Frames, frame};

/// A difference that is not an error of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// Bytes that are in no function: no symbol's size covers them. The tool gives them the function before, and the line of its end.
    Padding,
    /// The linker folded functions with equal code: both names are names of one address in the symbol table.
    Folded,
    /// The debug information has no mangled name for a function, as for what is instantiated over a lambda, which is local. One of the
    /// two then tells the name of the symbol that covers the address, the other the one that stands in the debug information.
    SymbolsName,
}

/// What the program says of its functions.
pub(crate) struct Facts {
    /// Start, end (where the size is known) and name of each symbol.
    symbols: Vec<(u64, Option<u64>, String)>,
    /// Names of the debug information that come without a mangled one.
    unmangled: BTreeSet<String>,
}

impl Facts {
    pub(crate) fn of(program: &Path) -> Self {
        let mut symbols = Vec::new();
        for line in run("nm", &["-S", "--defined-only", program.to_str().unwrap()]).lines() {
            let fields: Vec<_> = line.split_whitespace().collect();
            let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
            match fields[..] {
                [start, size, _, name] => symbols.push((hex(start), Some(hex(start) + hex(size)), frame(name, "", 0).name)),
                [start, _, name] => symbols.push((hex(start), None, frame(name, "", 0).name)),
                _ => {}
            }
        }
        Self { symbols, unmangled: unmangled(program) }
    }

    /// The rule that explains a difference at an address; none where none does.
    pub(crate) fn why(&self, address: u64, mine: &Frames, theirs: &Frames) -> Option<Rule> {
        if mine.is_empty() && theirs.len() == 1 {
            return Some(Rule::Padding).filter(|_| self.covering(address).next().is_none());
        }
        let same_places = mine.len() == theirs.len() && mine.iter().zip(theirs).all(|(a, b)| (&a.file, a.line) == (&b.file, b.line));
        if !same_places {
            return None;
        }
        let pairs = mine.iter().zip(theirs).filter(|(a, b)| a.name != b.name);
        // The rule of most weight where frames differ by several.
        pairs.map(|(a, b)| self.names(address, a, b)).collect::<Option<BTreeSet<_>>>()?.into_iter().next_back()
    }

    fn names(&self, address: u64, a: &Frame, b: &Frame) -> Option<Rule> {
        let starts =
            |name: &str| -> BTreeSet<u64> { self.symbols.iter().filter(|symbol| symbol.2 == name).map(|symbol| symbol.0).collect() };
        if !starts(&a.name).is_disjoint(&starts(&b.name)) {
            return Some(Rule::Folded);
        }
        let is_symbol = |frame: &Frame| self.covering(address).any(|name| name == frame.name);
        let is_unmangled = |frame: &Frame| self.unmangled.contains(&frame.name);
        let differ = is_symbol(b) && is_unmangled(a) || is_symbol(a) && is_unmangled(b);
        differ.then_some(Rule::SymbolsName)
    }

    fn covering(&self, address: u64) -> impl Iterator<Item = &str> {
        let covers = move |symbol: &&(u64, Option<u64>, String)| symbol.0 <= address && symbol.1.is_some_and(|end| address < end);
        self.symbols.iter().filter(covers).map(|symbol| symbol.2.as_str())
    }
}

/// Names of functions, inlined ones too, that have a name and no mangled one. None where the program itself has no debug information.
fn unmangled(program: &Path) -> BTreeSet<String> {
    let object = ObjectFile::open(program).unwrap();
    let load =
        |id: gimli::SectionId| Ok::<_, gimli::Error>(object.section(id.name()).map_or_else(Vec::new, |section| section.data.to_vec()));
    let sections = gimli::DwarfSections::load(load).unwrap();
    let dwarf: Dwarf<_> = sections.borrow(|bytes| EndianSlice::new(bytes, LittleEndian));
    let (mut units, mut names) = (dwarf.units(), BTreeSet::new());
    while let Some(header) = units.next().unwrap() {
        let unit = dwarf.unit(header).unwrap();
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs().unwrap() {
            let is_function = entry.tag() == gimli::DW_TAG_subprogram;
            let has = |attribute| entry.attr_value(attribute).is_some();
            if is_function
                && !has(gimli::DW_AT_linkage_name)
                && let Some(name) = entry.attr_value(gimli::DW_AT_name)
            {
                let name = dwarf.attr_string(&unit, name).unwrap().to_string_lossy().into_owned();
                names.insert(frame(&name, "", 0).name);
            }
        }
    }
    names
}
