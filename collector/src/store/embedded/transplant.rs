//! Moves single stacks from one set of tables to another.
//!
//! [`Tables::absorb`] takes everything over; a service's share of a batch, or a query's share of a dictionary, is a small
//! part. Each element is moved at most once, when first needed.

use flamekeeper_profile::{Line, Location, LocationId, ObjectId, StackId, StringId, Tables};

/// Where the elements moved so far stand in the other tables.
#[derive(Debug)]
pub(super) struct Transplant {
    strings: Vec<Option<StringId>>,
    objects: Vec<Option<ObjectId>>,
    locations: Vec<Option<LocationId>>,
    buffer: Vec<LocationId>,
}

impl Transplant {
    /// Nothing moved yet from `from`.
    pub(super) fn new(from: &Tables) -> Self {
        Self {
            strings: vec![None; from.strings().len()],
            objects: vec![None; from.objects().len()],
            locations: vec![None; from.locations().len()],
            buffer: Vec::new(),
        }
    }

    /// Moves a stack; `None` where one of its handles points outside `from`.
    pub(super) fn stack(&mut self, from: &Tables, to: &mut Tables, id: StackId) -> Option<StackId> {
        let stack = from.stack(id)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        for location in &stack.locations {
            buffer.push(self.location(from, to, *location)?);
        }
        let moved = to.intern_stack(&buffer, stack.end);
        self.buffer = buffer;
        Some(moved)
    }

    fn location(&mut self, from: &Tables, to: &mut Tables, id: LocationId) -> Option<LocationId> {
        if let Some(moved) = *self.locations.get(id.index())? {
            return Some(moved);
        }
        let location = from.location(id)?;
        let object = match location.object {
            Some(object) => Some(self.object(from, to, object)?),
            None => None,
        };
        let mut lines = Vec::with_capacity(location.lines.len());
        for line in &location.lines {
            let function = self.string(from, to, line.function)?;
            lines.push(Line { function, file: self.string(from, to, line.file)?, line: line.line });
        }
        let moved = to.intern_location(Location { kind: location.kind, object, address: location.address, lines: lines.into() });
        self.locations[id.index()] = Some(moved);
        Some(moved)
    }

    fn object(&mut self, from: &Tables, to: &mut Tables, id: ObjectId) -> Option<ObjectId> {
        if let Some(moved) = *self.objects.get(id.index())? {
            return Some(moved);
        }
        let object = from.object(id)?;
        let moved = to.intern_object(object.build_id.clone(), from.string(object.path));
        self.objects[id.index()] = Some(moved);
        Some(moved)
    }

    fn string(&mut self, from: &Tables, to: &mut Tables, id: StringId) -> Option<StringId> {
        let moved = self.strings.get_mut(id.index())?;
        Some(*moved.get_or_insert_with(|| to.intern_string(from.string(id))))
    }
}
