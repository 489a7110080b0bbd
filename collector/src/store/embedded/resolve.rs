//! From the store's numbers back to tables of a profile.

use std::collections::HashMap;

use flamekeeper_profile::{Line, Location, LocationId, ObjectId, StackEnd, StackId, StringId, Svma, Tables};

use super::codec::Reader;
use super::corrupt;
use super::records::{LocationRecord, ObjectRecord, decode_stack};
use super::words::Words;
use crate::store::StoreError;

/// Adds what the numbers of one slot stand for to tables; each number is read once.
pub(super) struct Resolver<'a> {
    words: &'a Words,
    tables: &'a mut Tables,
    texts: HashMap<u32, StringId>,
    objects: HashMap<u32, ObjectId>,
    locations: HashMap<u32, LocationId>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(words: &'a Words, tables: &'a mut Tables) -> Self {
        Self { words, tables, texts: HashMap::new(), objects: HashMap::new(), locations: HashMap::new() }
    }

    /// A stack of a service, and how it ends.
    pub(super) fn stack(&mut self, service: u32, number: u32) -> Result<(StackId, StackEnd), StoreError> {
        let content = self.words.stacks.content(&service.to_be_bytes(), number)?;
        let mut numbers = Vec::new();
        let end = decode_stack(&content, &mut numbers).map_err(|_| self.words.stacks.corrupt(number))?;
        let locations = numbers.into_iter().map(|location| self.location(location)).collect::<Result<Vec<_>, _>>()?;
        Ok((self.tables.intern_stack(&locations, end), end))
    }

    fn location(&mut self, number: u32) -> Result<LocationId, StoreError> {
        if let Some(id) = self.locations.get(&number) {
            return Ok(*id);
        }
        let content = self.words.locations.content(&[], number)?;
        let record = LocationRecord::decode(&content).map_err(|_| self.words.locations.corrupt(number))?;
        let mut lines = Vec::with_capacity(record.lines.len());
        for (function, file, line) in record.lines {
            lines.push(Line { function: self.text(function)?, file: self.text(file)?, line });
        }
        let object = record.object.map(|object| self.object(object)).transpose()?;
        let location = Location { kind: record.kind, object, address: Svma(record.address), lines: lines.into() };
        let id = self.tables.intern_location(location);
        self.locations.insert(number, id);
        Ok(id)
    }

    fn object(&mut self, number: u32) -> Result<ObjectId, StoreError> {
        if let Some(id) = self.objects.get(&number) {
            return Ok(*id);
        }
        let content = self.words.objects.content(&[], number)?;
        let record = ObjectRecord::decode(&content).map_err(|_| self.words.objects.corrupt(number))?;
        let path = self.text(record.path)?;
        let path = self.tables.string(path).to_owned();
        let id = self.tables.intern_object(record.build_id, &path);
        self.objects.insert(number, id);
        Ok(id)
    }

    fn text(&mut self, number: u32) -> Result<StringId, StoreError> {
        if let Some(id) = self.texts.get(&number) {
            return Ok(*id);
        }
        let content = self.words.texts.content(&[], number)?;
        let text = Reader::new(&content).text().map_err(corrupt("texts"))?;
        let id = self.tables.intern_string(text);
        self.texts.insert(number, id);
        Ok(id)
    }
}
