//! What debug information says of a function: its name, and the line that it begins at.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use gimli::{AttributeValue, DebugInfoOffset, UnitOffset, constants};

use super::demangle;
use super::sections::Slice;
use super::units::{Unit, Units};

/// How many entries are followed from a function to the one that names it; real ones are two or three apart.
const MAX_REFERENCES: usize = 16;

/// A function as its entries describe it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Described<'a> {
    /// The name of the symbol.
    pub(super) linkage: Option<Slice<'a>>,
    /// The name in the source.
    pub(super) name: Option<Slice<'a>>,
    /// The line of its declaration, from 1; 0 where unknown.
    pub(super) line: u64,
}

impl Described<'_> {
    const fn is_complete(&self) -> bool {
        self.linkage.is_some() && self.line != 0
    }

    /// As a symbol file has it; empty where there is no name. `symbol` is the name of the symbol there, which counts where the entries tell no
    /// name of a symbol and it is mangled, since that of a local function of C++ lacks its namespace and parameters; or where they tell
    /// none at all.
    pub(super) fn text(&self, symbol: Option<&str>) -> String {
        let linkage = self.linkage.map(|name| name.to_string_lossy());
        let symbol = symbol.filter(|symbol| self.name.is_none() || demangle::is_mangled(symbol));
        let name = match (linkage.as_deref().or(symbol), self.name) {
            (Some(mangled), _) => demangle::readable(mangled),
            (None, Some(name)) => name.to_string_lossy().into_owned(),
            (None, None) => String::new(),
        };
        demangle::with_line(name, u32::try_from(self.line).unwrap_or(0))
    }
}

/// Names of functions, by the entries that name them.
#[derive(Debug)]
pub(super) struct Names<'f, 'a> {
    /// The supplementary file.
    supplementary: Option<&'f Units<'a>>,
    /// Of inlined functions, by offset in `.debug_info`: of the file (`false`) or the supplementary one.
    inlined: RefCell<HashMap<(bool, usize), Rc<str>>>,
}

/// Where an entry is.
#[derive(Clone, Copy)]
struct Place<'f, 'a> {
    units: &'f Units<'a>,
    unit: &'f Unit<'a>,
    offset: UnitOffset,
}

impl<'f, 'a> Names<'f, 'a> {
    /// Names of one file.
    pub(super) fn new(supplementary: Option<&'f Units<'a>>) -> Self {
        Self { supplementary, inlined: RefCell::default() }
    }

    /// What the entry of a function says of it, together with those that it refers to.
    pub(super) fn describe(&self, units: &'f Units<'a>, unit: &'f Unit<'a>, offset: UnitOffset) -> Described<'a> {
        self.follow(Place { units, unit, offset })
    }

    /// The name of an inlined function, by the reference to what it is an instance of.
    pub(super) fn inlined(&self, units: &'f Units<'a>, unit: &'f Unit<'a>, origin: AttributeValue<Slice<'a>>) -> Rc<str> {
        let Some(place) = self.refer(units, unit, origin) else { return Rc::from("") };
        let Some(at) = place.offset.to_debug_info_offset(&place.unit.header) else { return Rc::from("") };
        let key = (self.supplementary.is_some_and(|supplementary| std::ptr::eq(supplementary, place.units)), at.0);
        if let Some(known) = self.inlined.borrow().get(&key) {
            return Rc::clone(known);
        }
        let name: Rc<str> = Rc::from(self.follow(place).text(None));
        self.inlined.borrow_mut().insert(key, Rc::clone(&name));
        name
    }

    fn follow(&self, mut place: Place<'f, 'a>) -> Described<'a> {
        let mut found = Described::default();
        for _ in 0..MAX_REFERENCES {
            let Ok(entry) = place.unit.entry(place.offset) else { break };
            let (mut origin, mut specification) = (None, None);
            for attribute in entry.attrs() {
                let text = || place.units.dwarf.attr_string(place.unit, attribute.value()).ok();
                match attribute.name() {
                    constants::DW_AT_linkage_name | constants::DW_AT_MIPS_linkage_name => found.linkage = found.linkage.or_else(text),
                    constants::DW_AT_name => found.name = found.name.or_else(text),
                    constants::DW_AT_decl_line if found.line == 0 => found.line = attribute.udata_value().unwrap_or(0),
                    constants::DW_AT_abstract_origin => origin = Some(attribute.value()),
                    constants::DW_AT_specification => specification = Some(attribute.value()),
                    _ => {}
                }
            }
            if found.is_complete() {
                break;
            }
            let Some(next) = origin.or(specification).and_then(|next| self.refer(place.units, place.unit, next)) else { break };
            place = next;
        }
        found
    }

    /// The place that a reference means.
    fn refer(&self, units: &'f Units<'a>, unit: &'f Unit<'a>, reference: AttributeValue<Slice<'a>>) -> Option<Place<'f, 'a>> {
        let in_file = |units: &'f Units<'a>, at: DebugInfoOffset| {
            let (unit, offset) = units.at(at)?;
            Some(Place { units, unit, offset })
        };
        match reference {
            AttributeValue::UnitRef(offset) => Some(Place { units, unit, offset }),
            AttributeValue::DebugInfoRef(at) => in_file(units, at),
            AttributeValue::DebugInfoRefSup(at) => in_file(self.supplementary?, at),
            _ => None,
        }
    }
}
