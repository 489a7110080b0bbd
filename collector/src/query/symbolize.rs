//! What is known of each location of a profile: looked up object by object, each location once.

use std::sync::Arc;

use flamekeeper_profile::{Frame, Location, LocationId, Svma, Tables, UnnamedReason};
use flamekeeper_symbolizer::{Symbolize, Symbolized};

/// Whether the sender named it: names that the sender gave are taken as they are.
pub(super) fn is_named(tables: &Tables, location: &Location) -> bool {
    location.lines.iter().any(|line| !tables.string(line.function).is_empty())
}

/// The answers for the locations that `wanted` marks, by their place; none for the others, and for those that the sender named.
pub(super) fn answers(tables: &Tables, wanted: &[bool], symbols: &dyn Symbolize) -> Vec<Option<Symbolized>> {
    let mut answers = vec![None; wanted.len()];
    let mut of_objects: Vec<(Vec<LocationId>, Vec<Svma>)> = vec![Default::default(); tables.objects().len()];
    for ((id, location), _) in tables.locations().iter().zip(wanted).filter(|(_, wanted)| **wanted) {
        if is_named(tables, location) {
            continue;
        }
        match location.object.and_then(|object| of_objects.get_mut(object.index())) {
            Some((locations, addresses)) => {
                locations.push(id);
                addresses.push(location.address);
            }
            None => answers[id.index()] = Some(Symbolized::Unknown(UnnamedReason::NoMapping)),
        }
    }
    for ((_, object), (locations, addresses)) in tables.objects().iter().zip(of_objects) {
        if !locations.is_empty() {
            let found = symbols.symbolize_all(object.build_id.as_ref(), tables.string(object.path), &addresses);
            locations.iter().zip(found).for_each(|(location, found)| answers[location.index()] = Some(found));
        }
    }
    answers
}

/// `libc.so.6+0x1234`; the module of an address in no file is written `[unknown]`.
pub(super) fn unnamed(module: &Arc<str>, location: &Location, reason: UnnamedReason, inlined: bool) -> Frame {
    let file_name = module.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("[unknown]");
    Frame {
        name: format!("{file_name}+{:#x}", location.address).into(),
        module: Arc::clone(module),
        kind: location.kind,
        inlined,
        unnamed: Some(reason),
        ..Frame::marker("")
    }
}
