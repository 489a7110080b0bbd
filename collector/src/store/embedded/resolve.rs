//! From the store's numbers back to tables of a profile.

use std::collections::HashMap;

use flamekeeper_profile::{Line, Location, LocationId, ObjectId, StackEnd, StackId, StringId, Svma, Tables};
use foldhash::fast::RandomState;

use super::codec::Reader;
use super::corrupt;
use super::lexicon::Lexicon;
use super::records::{LocationRecord, ObjectRecord};
use super::tier::Slot;
use super::words::Words;
use crate::store::StoreError;
use crate::watch::Ticker;

/// Stacks that are looked at together.
const CHUNK: usize = 8192;

/// Adds what the numbers of one slot stand for to tables; each location, object and text is looked up once.
pub(super) struct Resolver<'a> {
    slot: Slot,
    words: &'a Words,
    lexicon: &'a Lexicon,
    ticker: &'a Ticker,
    tables: &'a mut Tables,
    texts: HashMap<u32, StringId>,
    objects: HashMap<u32, ObjectId>,
    locations: Handles,
}

impl<'a> Resolver<'a> {
    pub(super) fn new((slot, words): (Slot, &'a Words), lexicon: &'a Lexicon, ticker: &'a Ticker, tables: &'a mut Tables) -> Self {
        let (texts, objects, locations) = (HashMap::new(), HashMap::new(), Handles::default());
        Self { slot, words, lexicon, ticker, tables, texts, objects, locations }
    }

    /// Hands out the stacks of a service by their numbers, in the same order, and how each ends. In the order of their numbers the
    /// dictionary's blocks are read once each.
    pub(super) fn stacks(&mut self, service: u32, numbers: &[u32], mut visit: impl FnMut(StackId, StackEnd)) -> Result<(), StoreError> {
        let mut locations = Vec::new();
        for numbers in numbers.chunks(CHUNK) {
            let stacks = self.lexicon.stacks((self.slot, self.words), service, numbers, self.ticker)?;
            self.find_locations(stacks.iter().flat_map(|stack| stack.locations.iter().copied()))?;
            for stack in stacks {
                locations.clear();
                locations.extend(stack.locations.iter().filter_map(|number| self.locations.get(*number)));
                visit(self.tables.intern_stack(&locations, stack.end), stack.end);
            }
        }
        Ok(())
    }

    /// Sees to it that these locations have handles.
    fn find_locations(&mut self, numbers: impl Iterator<Item = u32>) -> Result<(), StoreError> {
        let mut new: Vec<u32> = numbers.filter(|number| self.locations.announce(*number)).collect();
        new.sort_unstable();
        let records = self.lexicon.locations((self.slot, self.words), &new, self.ticker)?;
        for (number, record) in new.into_iter().zip(records) {
            let location = self.location(&record)?;
            self.locations.set(number, location);
        }
        Ok(())
    }

    fn location(&mut self, record: &LocationRecord) -> Result<LocationId, StoreError> {
        let mut lines = Vec::with_capacity(record.lines.len());
        for (function, file, line) in &record.lines {
            lines.push(Line { function: self.text(*function)?, file: self.text(*file)?, line: *line });
        }
        let object = record.object.map(|object| self.object(object)).transpose()?;
        let location = Location { kind: record.kind, object, address: Svma(record.address), lines: lines.into() };
        Ok(self.tables.intern_location(location))
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

/// Numbers below this are places of a table: they are given one after the other, so that it is full where it is long.
const DENSE: usize = 1 << 20;
/// No handle yet, and none asked for.
const NONE: u32 = u32::MAX;
/// One that was announced. Tables are bounded far below.
const ANNOUNCED: u32 = u32::MAX - 1;

/// Handles of locations by their number.
#[derive(Default)]
struct Handles {
    dense: Vec<u32>,
    sparse: HashMap<u32, u32, RandomState>,
}

impl Handles {
    /// Whether the number is new; it is not from now on.
    fn announce(&mut self, number: u32) -> bool {
        let place = self.place(number);
        let new = *place == NONE;
        if new {
            *place = ANNOUNCED;
        }
        new
    }

    fn set(&mut self, number: u32, id: LocationId) {
        *self.place(number) = id.raw();
    }

    fn place(&mut self, number: u32) -> &mut u32 {
        let place = number as usize;
        if place >= DENSE {
            return self.sparse.entry(number).or_insert(NONE);
        }
        if place >= self.dense.len() {
            self.dense.resize((place + 1).next_power_of_two(), NONE);
        }
        &mut self.dense[place]
    }

    /// The handle that was set; none for a number that was only announced.
    fn get(&self, number: u32) -> Option<LocationId> {
        let dense = self.dense.get(number as usize);
        let id = dense.or_else(|| self.sparse.get(&number)).copied()?;
        (id < ANNOUNCED).then(|| LocationId::new(id))
    }
}
