//! From the handles of a batch to the numbers of the store.

use fjall::OwnedWriteBatch;
use flamekeeper_profile::{LocationId, Object, ObjectId, Series, StackEnd, StackId, StringId, Tables, Timestamp, label};

use super::append::text_content;
use super::interner::Keys;
use super::interners::Interners;
use super::records::{LocationRecord, ObjectRecord, encode_labels, encode_type, put_stack};
use super::row::{self, RowHeader, RowKey, Table};
use crate::store::StoreError;

/// The numbers that a batch's handles have in the store; each handle is looked up once.
///
/// What a series names is looked up together before it is used one by one. Nearly all of it is in memory, but seldom in a cache of
/// the CPU, and look-ups in one short loop wait for memory at the same time instead of one after the other.
pub(super) struct Numbers<'a> {
    interners: &'a mut Interners,
    pub(super) write: &'a mut OwnedWriteBatch,
    tables: &'a Tables,
    texts: Vec<Option<u32>>,
    objects: Vec<Option<u32>>,
    locations: Vec<Option<u32>>,
    /// Of each stack the service that it was met in last, and its number there.
    stacks: Vec<Option<(u32, u32)>>,
    /// Of each location whether it was looked up among others.
    seen: Vec<bool>,
    /// The locations of the stack at hand, kept for its memory.
    content: Vec<u32>,
}

impl<'a> Numbers<'a> {
    pub(super) fn new(interners: &'a mut Interners, write: &'a mut OwnedWriteBatch, tables: &'a Tables) -> Self {
        Self {
            interners,
            write,
            tables,
            texts: vec![None; tables.strings().len()],
            objects: vec![None; tables.objects().len()],
            locations: vec![None; tables.locations().len()],
            stacks: vec![None; tables.stacks().len()],
            seen: vec![false; tables.locations().len()],
            content: Vec::new(),
        }
    }

    /// The row of a series in the window that starts at `from`.
    pub(super) fn row(&mut self, from: Timestamp, series: &Series, ordinal: u64) -> Result<(RowKey, Vec<u8>), StoreError> {
        let service = self.interners.services.intern(self.write, &[], &text_content(series.labels.get(label::SERVICE)))?;
        let sample_type = self.interners.types.intern(self.write, &[], &encode_type(&series.sample_type))?;
        let labels = self.interners.series.intern(self.write, &[], &encode_labels(&series.labels))?;
        self.find_locations(&series.values)?;
        self.find_stacks(service, &series.values);
        let mut header = RowHeader::default();
        let mut stacks = Vec::with_capacity(series.values.len());
        for (stack, value) in &series.values {
            let (number, end) = self.stack(service, *stack)?;
            stacks.push((number, *value));
            header.count(end, *value);
        }
        stacks.sort_unstable();
        let key = RowKey { table: Table::Rows, service, sample_type, from, series: labels, ordinal };
        Ok((key, row::encode(&header, &stacks)))
    }

    /// Looks the locations of stacks up that are in memory; what is not found or has names is left to [`Self::location`].
    fn find_locations(&mut self, values: &[(StackId, u64)]) -> Result<(), StoreError> {
        let tables = self.tables;
        let (mut ids, mut keys) = (Vec::new(), Keys::default());
        for id in values.iter().filter_map(|(stack, _)| tables.stack(*stack)).flat_map(|stack| &stack.locations) {
            let Some(seen @ false) = self.seen.get_mut(id.index()) else { continue };
            *seen = true;
            let Some(location) = tables.location(*id).filter(|location| location.lines.is_empty()) else { continue };
            let object = location.object.map(|object| self.object(object)).transpose()?;
            let record = LocationRecord { kind: location.kind, object, address: location.address.0, lines: Vec::new() };
            self.interners.locations.put_key(&mut keys, &[], |out| record.put(out));
            ids.push(*id);
        }
        for (id, number) in ids.into_iter().zip(self.interners.locations.known(&keys)) {
            self.locations[id.index()] = number;
        }
        Ok(())
    }

    /// The same for stacks of whose locations all are known.
    fn find_stacks(&mut self, service: u32, values: &[(StackId, u64)]) {
        let tables = self.tables;
        let (mut ids, mut keys) = (Vec::new(), Keys::default());
        for (id, _) in values {
            let Some(stack) = tables.stack(*id) else { continue };
            self.content.clear();
            self.content.extend(stack.locations.iter().map_while(|id| self.locations.get(id.index()).copied().flatten()));
            if self.content.len() == stack.locations.len() {
                let put = |out: &mut Vec<u8>| put_stack(out, &self.content, stack.end);
                self.interners.stacks.put_key(&mut keys, &service.to_be_bytes(), put);
                ids.push(*id);
            }
        }
        for (id, number) in ids.into_iter().zip(self.interners.stacks.known(&keys)) {
            if let Some(number) = number {
                self.stacks[id.index()] = Some((service, number));
            }
        }
    }

    fn stack(&mut self, service: u32, id: StackId) -> Result<(u32, StackEnd), StoreError> {
        let tables = self.tables;
        let (locations, end) = tables.stack(id).map_or((&[][..], StackEnd::Unstated), |stack| (&*stack.locations, stack.end));
        if let Some(Some((known, number))) = self.stacks.get(id.index())
            && *known == service
        {
            return Ok((*number, end));
        }
        let mut numbers = std::mem::take(&mut self.content);
        numbers.clear();
        for location in locations {
            numbers.push(self.location(*location)?);
        }
        let put = |out: &mut Vec<u8>| put_stack(out, &numbers, end);
        let number = self.interners.stacks.intern_with(self.write, &service.to_be_bytes(), put)?;
        self.content = numbers;
        remember(&mut self.stacks, id.index(), (service, number));
        Ok((number, end))
    }

    fn location(&mut self, id: LocationId) -> Result<u32, StoreError> {
        if let Some(Some(number)) = self.locations.get(id.index()) {
            return Ok(*number);
        }
        let tables = self.tables;
        let record = match tables.location(id) {
            None => LocationRecord { kind: flamekeeper_profile::FrameKind::Other, object: None, address: 0, lines: Vec::new() },
            Some(location) => LocationRecord {
                kind: location.kind,
                object: location.object.map(|object| self.object(object)).transpose()?,
                address: location.address.0,
                lines: {
                    let line = |line: &flamekeeper_profile::Line| Ok((self.text(line.function)?, self.text(line.file)?, line.line));
                    location.lines.iter().map(line).collect::<Result<_, StoreError>>()?
                },
            },
        };
        let number = self.interners.locations.intern_with(self.write, &[], |out| record.put(out))?;
        remember(&mut self.locations, id.index(), number);
        Ok(number)
    }

    fn object(&mut self, id: ObjectId) -> Result<u32, StoreError> {
        if let Some(Some(number)) = self.objects.get(id.index()) {
            return Ok(*number);
        }
        let tables = self.tables;
        let record = match tables.object(id) {
            None => ObjectRecord { path: self.empty_text()?, build_id: None },
            Some(Object { build_id, path }) => ObjectRecord { path: self.text(*path)?, build_id: build_id.clone() },
        };
        let number = self.interners.objects.intern(self.write, &[], &record.encode())?;
        remember(&mut self.objects, id.index(), number);
        Ok(number)
    }

    fn empty_text(&mut self) -> Result<u32, StoreError> {
        self.interners.texts.intern(self.write, &[], &text_content(""))
    }

    fn text(&mut self, id: StringId) -> Result<u32, StoreError> {
        if let Some(Some(number)) = self.texts.get(id.index()) {
            return Ok(*number);
        }
        let number = self.interners.texts.intern(self.write, &[], &text_content(self.tables.string(id)))?;
        remember(&mut self.texts, id.index(), number);
        Ok(number)
    }
}

/// A handle that points nowhere is not remembered.
fn remember<T>(numbers: &mut [Option<T>], index: usize, number: T) {
    if let Some(place) = numbers.get_mut(index) {
        *place = Some(number);
    }
}
