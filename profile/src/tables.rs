//! The interned tables that the samples of a batch, or of a merge, share.

use std::hash::{Hash, Hasher};

use crate::address::Svma;
use crate::build_id::BuildId;
use crate::frame::FrameKind;
use crate::intern::{Id, Table};
use crate::stack::{Stack, StackEnd, StackRef};

/// A handle of a text in [`Tables::strings`].
pub type StringId = Id<Box<str>>;
/// A handle of an object in [`Tables::objects`].
pub type ObjectId = Id<Object>;
/// A handle of a location in [`Tables::locations`].
pub type LocationId = Id<Location>;
/// A handle of a stack trace in [`Tables::stacks`].
pub type StackId = Id<Stack>;

/// An object file (an executable, a library, the kernel), as profiles refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// Its identity, where it has one.
    pub build_id: Option<BuildId>,
    /// Its path as the process saw it, or a name in brackets: `[kernel]`, `[vdso]`, `[anon]`.
    pub path: StringId,
}

/// A name that the sender of a location already knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// The function's name.
    pub function: StringId,
    /// Source file; the empty text where unknown.
    pub file: StringId,
    /// Line, from 1; 0 where unknown.
    pub line: u32,
}

/// An address in an object, not yet symbolized, or a place that only the host could name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// What runs the code.
    pub kind: FrameKind,
    /// The object; none where the address lies in no file.
    pub object: Option<ObjectId>,
    /// The address that the object states; for a return address it points into the call instruction (address of the
    /// next instruction minus one), so that a lookup finds the caller's line.
    pub address: Svma,
    /// Names that the sender knew, innermost (inlined) function first. Empty: to be symbolized by the collector.
    pub lines: Box<[Line]>,
}

// A batch has some five locations a stack, nearly all without lines: they are hashed in two steps instead of five.
impl Hash for Location {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let object = self.object.map_or(0, |object| u64::from(object.raw()) + 1);
        state.write_u64(object << 8 | u64::from(self.kind.code()));
        state.write_u64(self.address.0);
        if !self.lines.is_empty() {
            self.lines.hash(state);
        }
    }
}

/// Strings, objects, locations and stacks, each once.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    strings: Table<Box<str>>,
    objects: Table<Object>,
    locations: Table<Location>,
    stacks: Table<Stack>,
}

/// Where the stacks of one set of tables stand in another: see [`Tables::absorb`].
#[derive(Clone, Debug, Default)]
pub struct TablesRemap {
    stacks: Vec<StackId>,
}

impl TablesRemap {
    /// The place of a stack in the tables that absorbed it.
    #[must_use]
    pub fn stack(&self, id: StackId) -> Option<StackId> {
        self.stacks.get(id.index()).copied()
    }
}

impl Tables {
    /// Empty tables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Empty tables with room for so many locations and stacks.
    #[must_use]
    pub fn with_capacity(locations: usize, stacks: usize) -> Self {
        Self { locations: Table::with_capacity(locations), stacks: Table::with_capacity(stacks), ..Self::default() }
    }

    /// The handle of a text.
    pub fn intern_string(&mut self, text: &str) -> StringId {
        self.strings.intern_with(text, || text.into())
    }

    /// The handle of an object.
    pub fn intern_object(&mut self, build_id: Option<BuildId>, path: &str) -> ObjectId {
        let path = self.intern_string(path);
        self.objects.intern(Object { build_id, path })
    }

    /// The handle of a location.
    pub fn intern_location(&mut self, location: Location) -> LocationId {
        self.locations.intern(location)
    }

    /// The handle of a location that is not yet symbolized; allocates nothing where it is known.
    pub fn intern_address(&mut self, kind: FrameKind, object: Option<ObjectId>, address: Svma) -> LocationId {
        self.locations.intern(Location { kind, object, address, lines: Box::default() })
    }

    /// The handle of a location that the host names itself.
    pub fn intern_named(&mut self, kind: FrameKind, object: Option<ObjectId>, address: Svma, function: &str) -> LocationId {
        let line = Line { function: self.intern_string(function), file: self.intern_string(""), line: 0 };
        self.locations.intern(Location { kind, object, address, lines: Box::new([line]) })
    }

    /// The handle of a stack trace (leaf first); allocates nothing where it is known.
    pub fn intern_stack(&mut self, locations: &[LocationId], end: StackEnd) -> StackId {
        self.stacks.intern_with(&StackRef { locations, end }, || Stack { locations: locations.into(), end })
    }

    /// The text of a handle; empty for a handle of other tables.
    #[must_use]
    pub fn string(&self, id: StringId) -> &str {
        self.strings.get(id).map_or("", |text| text)
    }

    /// The object of a handle.
    #[must_use]
    pub fn object(&self, id: ObjectId) -> Option<&Object> {
        self.objects.get(id)
    }

    /// The location of a handle.
    #[must_use]
    pub fn location(&self, id: LocationId) -> Option<&Location> {
        self.locations.get(id)
    }

    /// The stack trace of a handle.
    #[must_use]
    pub fn stack(&self, id: StackId) -> Option<&Stack> {
        self.stacks.get(id)
    }

    /// All texts.
    #[must_use]
    pub const fn strings(&self) -> &Table<Box<str>> {
        &self.strings
    }

    /// All objects.
    #[must_use]
    pub const fn objects(&self) -> &Table<Object> {
        &self.objects
    }

    /// All locations.
    #[must_use]
    pub const fn locations(&self) -> &Table<Location> {
        &self.locations
    }

    /// All stack traces.
    #[must_use]
    pub const fn stacks(&self) -> &Table<Stack> {
        &self.stacks
    }

    /// Takes over everything in `other` and tells where its stacks are now. A handle in `other` that points nowhere
    /// (which [`Tables`] cannot build by itself) becomes an absent object, an empty text, or is left out of its stack.
    pub fn absorb(&mut self, other: &Self) -> TablesRemap {
        let strings: Vec<StringId> = other.strings.iter().map(|(_, text)| self.intern_string(text)).collect();
        let empty = self.intern_string("");
        let string = |id: StringId| strings.get(id.index()).copied().unwrap_or(empty);
        let objects: Vec<ObjectId> = other
            .objects
            .iter()
            .map(|(_, object)| self.objects.intern(Object { build_id: object.build_id.clone(), path: string(object.path) }))
            .collect();
        let mut locations = Vec::with_capacity(other.locations.len());
        for (_, location) in other.locations.iter() {
            let line = |line: &Line| Line { function: string(line.function), file: string(line.file), line: line.line };
            locations.push(self.locations.intern(Location {
                kind: location.kind,
                object: location.object.and_then(|id| objects.get(id.index()).copied()),
                address: location.address,
                lines: location.lines.iter().map(line).collect(),
            }));
        }
        let mut buffer = Vec::new();
        let mut stacks = Vec::with_capacity(other.stacks.len());
        for (_, stack) in other.stacks.iter() {
            buffer.clear();
            buffer.extend(stack.locations.iter().filter_map(|id| locations.get(id.index()).copied()));
            stacks.push(self.intern_stack(&buffer, stack.end));
        }
        TablesRemap { stacks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Absorbing two tables that share a stack yields it once, with its names intact.
    #[test]
    fn absorb_shares_equal_stacks() {
        let build = |extra: &str| {
            let mut tables = Tables::new();
            tables.intern_string(extra);
            let object = tables.intern_object(None, "/bin/x");
            let leaf = tables.intern_address(FrameKind::Native, Some(object), Svma(0x10));
            let root = tables.intern_named(FrameKind::Kernel, None, Svma(0), "start");
            let stack = tables.intern_stack(&[leaf, root], StackEnd::Root);
            (tables, stack)
        };
        let (first, stack_in_first) = build("a");
        let (second, stack_in_second) = build("b");
        let mut all = Tables::new();
        let a = all.absorb(&first).stack(stack_in_first).unwrap();
        let b = all.absorb(&second).stack(stack_in_second).unwrap();
        assert_eq!(a, b);
        assert_eq!(all.stacks().len(), 1);
        let root = all.stack(a).unwrap().locations[1];
        assert_eq!(all.string(all.location(root).unwrap().lines[0].function), "start");
    }
}
