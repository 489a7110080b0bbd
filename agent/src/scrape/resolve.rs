//! Addresses of a scraped profile that has no names: locations in objects that this host knows.

use std::collections::HashMap;
use std::path::Path;

use flamekeeper_object::ObjectFile;
use flamekeeper_profile::{Avma, BuildId, FileOffset, FrameKind, Location, LocationId, Svma};

use super::profile::{HeapProfile, clipped};

/// Objects that are kept open.
const MAX_OBJECTS: usize = 256;

/// Where an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapped<'a> {
    /// The file that is mapped there, as the profile states it.
    pub(super) path: &'a str,
    /// Its build id in hexadecimal digits; empty where none is stated.
    pub(super) build_id: &'a str,
    /// Where it is mapped.
    pub(super) start: u64,
    /// From which byte of the file on.
    pub(super) offset: u64,
}

/// Knows objects.
pub(super) trait Resolve {
    /// The identity of a mapped object, and the address in it; none where it is not known.
    fn resolve(&mut self, mapped: &Mapped<'_>, address: u64) -> Option<(BuildId, Svma)>;
}

/// The location of an address. Where nobody knows the object it has the address in the file, and no name.
pub(super) fn location(heap: &mut HeapProfile, mapped: Option<Mapped<'_>>, address: u64, resolve: &mut dyn Resolve) -> LocationId {
    let (object, address) = match mapped {
        None => (None, Svma(address)),
        Some(mapped) => {
            let path = clipped(mapped.path);
            match resolve.resolve(&mapped, address) {
                Some((build_id, address)) => (Some(heap.tables.intern_object(Some(build_id), &path)), address),
                None => {
                    let in_file = address.wrapping_sub(mapped.start).wrapping_add(mapped.offset);
                    (Some(heap.tables.intern_object(None, &path)), Svma(in_file))
                }
            }
        }
    };
    heap.locate(Location { kind: FrameKind::Native, object, address, lines: Box::default() })
}

/// The files of this host.
#[derive(Debug, Default)]
pub(super) struct LocalObjects {
    objects: HashMap<Box<str>, Option<ObjectFile>>,
}

impl Resolve for LocalObjects {
    fn resolve(&mut self, mapped: &Mapped<'_>, address: u64) -> Option<(BuildId, Svma)> {
        if !self.objects.contains_key(mapped.path) {
            if self.objects.len() >= MAX_OBJECTS {
                self.objects.clear();
            }
            let object = Path::new(mapped.path).is_absolute().then(|| ObjectFile::open(Path::new(mapped.path)).ok()).flatten();
            self.objects.insert(mapped.path.into(), object);
        }
        let object = self.objects.get(mapped.path)?.as_ref()?;
        let identity = object.identity();
        if !mapped.build_id.is_empty() && identity.hex() != mapped.build_id {
            return None;
        }
        let bias = object.bias(Avma(mapped.start), FileOffset(mapped.offset), true)?;
        Some((identity.clone(), Svma(address.wrapping_sub(bias))))
    }
}

/// Knows none: of a program on another host, whose files are not ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nobody;

impl Resolve for Nobody {
    fn resolve(&mut self, _: &Mapped<'_>, _: u64) -> Option<(BuildId, Svma)> {
        None
    }
}
