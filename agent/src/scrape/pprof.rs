//! Heap profiles as pprof's `profile.proto`: those of Go's `net/http/pprof`, and of jemalloc where a program serves it so.
//!
//! Their values are scaled up from samples already. Go states what was allocated since the program began and what is live, for each stack,
//! with names, files and lines.

use std::collections::HashMap;

use flamekeeper_profile::{FrameKind, Line, Location, LocationId, ObjectId, Svma};
use flamekeeper_wire::pprof::{self, PprofError, Profile};

use super::profile::{Amounts, HeapProfile, MAX_DEPTH, ParseError, clipped};
use super::resolve::{Mapped, Resolve};

/// Entries of each table of a profile. A large Go program's has some ten thousand.
const MAX_ENTRIES: usize = 500_000;

/// Where the values are that are looked for.
#[derive(Clone, Copy, Debug, Default)]
struct Columns {
    alloc_space: Option<usize>,
    alloc_objects: Option<usize>,
    inuse_space: Option<usize>,
    inuse_objects: Option<usize>,
}

impl Columns {
    fn of(profile: &Profile) -> Result<Self, ParseError> {
        let mut columns = Self::default();
        for (place, kind) in profile.sample_type.iter().enumerate() {
            let column = match profile.text(kind.r#type) {
                "alloc_space" => &mut columns.alloc_space,
                "alloc_objects" => &mut columns.alloc_objects,
                // As converters of jemalloc's and tcmalloc's text call them.
                "inuse_space" | "space" => &mut columns.inuse_space,
                "inuse_objects" | "objects" => &mut columns.inuse_objects,
                _ => continue,
            };
            *column = Some(place);
        }
        let none = [columns.alloc_space, columns.alloc_objects, columns.inuse_space, columns.inuse_objects].iter().all(Option::is_none);
        if none { Err(ParseError::NoHeap) } else { Ok(columns) }
    }

    fn amounts(&self, values: &[i64]) -> Result<Amounts, ParseError> {
        let value = |column: Option<usize>| match column.map(|column| values.get(column)) {
            None => Ok(0),
            Some(None) => Err(ParseError::Damaged("a sample has fewer values than there are types")),
            Some(Some(value)) => u64::try_from(*value).map_err(|_| ParseError::Damaged("a value is below zero")),
        };
        Ok(Amounts {
            alloc_space: value(self.alloc_space)?,
            alloc_objects: value(self.alloc_objects)?,
            inuse_space: value(self.inuse_space)?,
            inuse_objects: value(self.inuse_objects)?,
        })
    }
}

/// Reads a profile that is not compressed.
pub(super) fn parse(bytes: &[u8], resolve: &mut dyn Resolve) -> Result<HeapProfile, ParseError> {
    let profile = pprof::decode(bytes, MAX_ENTRIES).map_err(|error| match error {
        PprofError::Foreign => ParseError::Foreign,
        PprofError::TooLarge(_) => ParseError::TooLarge("500,000 entries in a table"),
    })?;
    if profile.sample_type.is_empty() {
        return Err(ParseError::Foreign);
    }
    let columns = Columns::of(&profile)?;
    let mut heap = HeapProfile::default();
    let locations = locations(&profile, &mut heap, resolve)?;
    let mut stack = Vec::new();
    for sample in &profile.sample {
        let amounts = columns.amounts(&sample.value)?;
        stack.clear();
        // One more than is kept says that there were more.
        for id in sample.location_id.iter().take(MAX_DEPTH + 1) {
            stack.push(*locations.get(id).ok_or(ParseError::Damaged("a sample names a location that is not there"))?);
        }
        heap.add(&stack, amounts);
    }
    Ok(heap.finish())
}

fn locations(profile: &Profile, heap: &mut HeapProfile, resolve: &mut dyn Resolve) -> Result<HashMap<u64, LocationId>, ParseError> {
    let mappings: HashMap<u64, &pprof::Mapping> = profile.mapping.iter().map(|mapping| (mapping.id, mapping)).collect();
    let functions: HashMap<u64, &pprof::Function> = profile.function.iter().map(|function| (function.id, function)).collect();
    let mut objects: HashMap<u64, ObjectId> = HashMap::new();
    let mut found = HashMap::new();
    for location in &profile.location {
        let mapping = mappings.get(&location.mapping_id);
        let named: Vec<_> =
            location.line.iter().take(MAX_DEPTH).filter_map(|line| Some((line, *functions.get(&line.function_id)?))).collect();
        if named.len() < location.line.len().min(MAX_DEPTH) {
            return Err(ParseError::Damaged("a line names a function that is not there"));
        }
        let path = mapping.map_or_else(String::new, |mapping| clipped(profile.text(mapping.filename)));
        let id = if named.is_empty() {
            let mapped = mapping.map(|mapping| Mapped {
                path: &path,
                build_id: profile.text(mapping.build_id),
                start: mapping.memory_start,
                offset: mapping.file_offset,
            });
            super::resolve::location(heap, mapped, location.address, resolve)
        } else {
            let object = mapping.map(|mapping| *objects.entry(mapping.id).or_insert_with(|| heap.tables.intern_object(None, &path)));
            let is_go = |(_, function): &(&pprof::Line, &pprof::Function)| profile.text(function.filename).ends_with(".go");
            let kind = if named.iter().any(is_go) { FrameKind::Go } else { FrameKind::Native };
            let lines = named.iter().map(|(line, function)| {
                let names = [function.name, function.system_name].map(|place| profile.text(place));
                let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or("[unknown]");
                Line {
                    function: heap.tables.intern_string(&clipped(name)),
                    file: heap.tables.intern_string(&clipped(profile.text(function.filename))),
                    line: u32::try_from(line.line).unwrap_or(0),
                }
            });
            let lines = lines.collect();
            heap.locate(Location { kind, object, address: Svma(0), lines })
        };
        found.insert(location.id, id);
    }
    Ok(found)
}
