//! Debug information of an object and of the files that belong to it: a supplementary file (`dwz`), split units (`.dwo`, `.dwp`).
//!
//! DWARF 2 to 5, and GNU's forerunners of what version 5 has of split units and supplementary files.

use std::collections::HashMap;

use flamekeeper_object::{ObjectBytes, ObjectError};
use gimli::{AbbreviationsCacheStrategy, DwarfPackage, DwarfPackageSections, DwarfSections, DwoId, Section as _, constants};
use symbolic_debuginfo::Function;
use symbolic_debuginfo::function_builder::FunctionBuilder;

use super::code::{Code, symbol_name};
use super::functions::{UnitFunctions, finished};
use super::lines::Lines;
use super::names::Names;
use super::sections::{self, Loaded, Slice, slice};
use super::units::{Dwarf, Unit, Units};
use super::{Sources, demangle};

/// How many rows of line tables are made for each byte of them, and how many ranges are read for each byte of debug information: real ones
/// have one and less; a damaged one could state the same list in every entry.
const MOST: u64 = 4;

/// What debug information there was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// Functions with code.
    pub(super) functions: u64,
    /// Units whose split part was not at hand, and the supplementary file where it was not.
    pub(super) missing: u64,
}

/// All debug information of an object, decompressed.
pub(super) struct DebugInfo<'a> {
    main: DwarfSections<Loaded<'a>>,
    supplementary: Option<DwarfSections<Loaded<'a>>>,
    package: Option<DwarfPackageSections<Loaded<'a>>>,
    split: Vec<DwarfSections<Loaded<'a>>>,
    /// Whether the object names a supplementary file that is not at hand.
    lacks_supplementary: bool,
}

/// The ELF files of [`Sources`] that have debug information.
pub(super) struct Files<'a> {
    pub(super) object: ObjectBytes<'a>,
    supplementary: Option<ObjectBytes<'a>>,
    package: Option<ObjectBytes<'a>>,
    split: Vec<ObjectBytes<'a>>,
}

impl<'a> Files<'a> {
    /// Reads the headers of all files. Of those beside the object, one that cannot be read is as if it were not there.
    pub(super) fn of(sources: &Sources<'a>) -> Result<Self, ObjectError> {
        let object = ObjectBytes::parse(sources.object)?;
        let also = |bytes: Option<&'a [u8]>| bytes.and_then(|bytes| ObjectBytes::parse(bytes).ok());
        // Another file's supplement would give wrong names.
        let is_it = |file: &ObjectBytes<'_>| object.alt_link().is_some_and(|link| file.build_id() == Some(link.build_id));
        let supplementary = also(sources.supplementary).filter(is_it);
        let split = sources.split.iter().filter_map(|bytes| ObjectBytes::parse(bytes).ok()).collect();
        Ok(Self { object, supplementary, package: also(sources.package), split })
    }

    /// Reads the sections, each of at most `limit` bytes. A file beside the object of which one is larger or damaged is as if it were not there.
    pub(super) fn debug_info(&self, limit: u64) -> Result<DebugInfo<'_>, ObjectError> {
        let supplementary = self.supplementary.as_ref().and_then(|file| sections::of_object(file, limit).ok());
        let package = self.package.as_ref().and_then(|file| sections::of_package(file, limit).ok());
        let split = self.split.iter().filter_map(|file| sections::of_split(file, limit).ok()).collect();
        let lacks_supplementary = supplementary.is_none() && self.object.alt_link().is_some();
        Ok(DebugInfo { main: sections::of_object(&self.object, limit)?, supplementary, package, split, lacks_supplementary })
    }
}

/// Where split units are.
struct Split<'r> {
    package: Option<DwarfPackage<Slice<'r>>>,
    sections: &'r [DwarfSections<Loaded<'r>>],
    /// Which of the files has a unit.
    by_id: HashMap<u64, usize>,
}

impl<'r> Split<'r> {
    fn new(debug: &'r DebugInfo<'r>, parent: &Dwarf<'r>) -> Self {
        let package = debug.package.as_ref().and_then(|package| package.borrow(slice, Slice::new(&[], gimli::LittleEndian)).ok());
        let mut split = Self { package, sections: &debug.split, by_id: HashMap::new() };
        for index in 0..debug.split.len() {
            let Some(dwarf) = split.file(index, parent) else { continue };
            let units = Units::new(dwarf);
            let ids = (0..units.len()).filter_map(|unit| units.get(unit)?.dwo_id);
            split.by_id.extend(ids.map(|id| (id.0, index)));
        }
        split
    }

    fn file(&self, index: usize, parent: &Dwarf<'r>) -> Option<Dwarf<'r>> {
        let mut dwarf = self.sections.get(index)?.borrow(slice);
        dwarf.make_dwo(parent);
        Some(dwarf)
    }

    fn find(&self, id: DwoId, parent: &Dwarf<'r>) -> Option<Dwarf<'r>> {
        let packed = self.package.as_ref().and_then(|package| package.find_cu(id, parent).ok().flatten());
        packed.or_else(|| self.file(*self.by_id.get(&id.0)?, parent))
    }
}

impl DebugInfo<'_> {
    /// How many ranges may be read of them.
    pub(super) fn most_ranges(&self) -> u64 {
        let split = self.split.iter().map(|file| file.debug_info.borrow(slice).reader().len());
        let sections = [
            self.main.debug_info.borrow(slice).reader().len(),
            self.package.as_ref().map_or(0, |package| package.debug_info.borrow(slice).reader().len()),
        ];
        split.chain(sections).fold(0, |sum, len| sum + len as u64) * MOST
    }

    /// Hands over all functions, with addresses relative to the load address.
    pub(super) fn functions(&self, code: &mut Code<'_>, give: &mut dyn FnMut(&Function<'_>)) -> Found {
        let mut dwarf = self.main.borrow(slice);
        if let Some(supplementary) = &self.supplementary {
            dwarf.set_sup(supplementary.borrow(slice));
        }
        dwarf.populate_abbreviations_cache(AbbreviationsCacheStrategy::Duplicates);
        let split = Split::new(self, &dwarf);
        let main = Units::new(dwarf);
        let supplementary = self.supplementary.as_ref().map(|sections| Units::new(sections.borrow(slice)));
        let names = Names::new(supplementary.as_ref());
        let mut rows = (self.main.debug_line.borrow(slice).reader().len() as u64).saturating_mul(MOST);
        let mut found = Found::default();
        let mut counted = |function: &Function<'_>| {
            found.functions += 1;
            give(function);
        };
        let mut missing = u64::from(self.lacks_supplementary);
        for index in 0..main.len() {
            let Some(unit) = main.get(index).filter(|unit| has_code(unit)) else { continue };
            let lines = Lines::read(unit, &mut rows);
            let lines_of = (&main, unit);
            if let Some(id) = unit.dwo_id {
                if let Some(dwarf) = split.find(id, &main.dwarf) {
                    let units = Units::split(dwarf, unit);
                    let names = Names::new(None);
                    let parts = (0..units.len()).filter_map(|index| units.get(index)).filter(|part| part.dwo_id == Some(id));
                    for unit in parts {
                        UnitFunctions { units: &units, unit, lines_of, lines: &lines, names: &names }.read(code, &mut counted);
                    }
                    continue;
                }
                missing += 1;
            }
            let any = UnitFunctions { units: &main, unit, lines_of, lines: &lines, names: &names }.read(code, &mut counted);
            if !any {
                by_symbols(&main, unit, &lines, code, &mut counted);
            }
        }
        found.missing = missing;
        found
    }
}

/// Whether functions of a unit can have code: those of units that others refer to have none.
fn has_code(unit: &Unit<'_>) -> bool {
    let mut entries = unit.entries();
    let root = entries.next_dfs().ok().flatten();
    root.is_some_and(|root| matches!(root.tag(), constants::DW_TAG_compile_unit | constants::DW_TAG_skeleton_unit))
}

/// Functions of a unit that describes none but has lines, as those in assembly: by the symbols in its code.
fn by_symbols<'a>(units: &Units<'a>, unit: &Unit<'a>, lines: &Lines<'a>, code: &mut Code<'_>, give: &mut dyn FnMut(&Function<'_>)) {
    let directory = unit.comp_dir.map_or(&b""[..], |directory| directory.slice());
    for covered in lines.covered() {
        for symbol in code.symbols_in(covered.clone()) {
            let start = code.address_of(symbol);
            let end = if symbol.size == 0 { covered.end } else { start.saturating_add(symbol.size).min(covered.end) };
            let Some(range) = code.within(start..end).filter(|range| code.claim(range)) else { continue };
            let name = demangle::with_line(demangle::readable(symbol_name(symbol)), 0);
            let mut function = FunctionBuilder::new(finished(name), directory, code.relative(range.start), range.end - range.start);
            for line in lines.of(range) {
                let file = lines.file(&units.dwarf, unit, line.file);
                function.add_leaf_line(code.relative(line.range.start), Some(line.range.end - line.range.start), file, line.line);
            }
            give(&function.finish());
        }
    }
}
