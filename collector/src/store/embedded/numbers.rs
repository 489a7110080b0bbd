//! From the handles of a batch to the numbers of the store.

use fjall::OwnedWriteBatch;
use flamekeeper_profile::{FrameKind, LocationId, Object, ObjectId, Series, StackEnd, StackId, StringId, Tables, Timestamp, label};

use super::append::text_content;
use super::interners::Interners;
use super::known::{KnownStacks, StackWords};
use super::records::{LocationRecord, ObjectRecord, encode_labels, encode_type, put_stack};
use super::row::{self, RowHeader, RowKey, Table};
use crate::store::StoreError;

/// The numbers that a batch's handles have in the store; each handle is looked up once.
///
/// Stacks are looked for by their locations' words ([`KnownStacks`]), all of a series together: nearly all of them are in memory, but seldom in a
/// cache of the CPU, and look-ups in one short loop wait for memory at the same time instead of one after the other. Only for the others are locations
/// looked up.
pub(super) struct Numbers<'a> {
    interners: &'a mut Interners,
    pub(super) write: &'a mut OwnedWriteBatch,
    tables: &'a Tables,
    texts: Vec<Option<u32>>,
    objects: Vec<Option<u32>>,
    locations: Vec<Option<u32>>,
    /// Of each location its word; 0 where it was not needed yet.
    words: Vec<u64>,
    /// Of each stack the service that it was met in last, and its number there.
    stacks: Vec<Option<(u32, u32)>>,
    sought: Sought,
    /// The locations of the stack at hand, kept for its memory.
    content: Vec<u32>,
}

/// The stacks of a series that must be looked for, kept for their memory.
#[derive(Default)]
struct Sought {
    words: Vec<u64>,
    /// The place of each among the series' values, and where its words end.
    stacks: Vec<(usize, usize)>,
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
            words: vec![0; tables.locations().len()],
            stacks: vec![None; tables.stacks().len()],
            sought: Sought::default(),
            content: Vec::new(),
        }
    }

    /// The row of a series in the window that starts at `from`.
    pub(super) fn row(&mut self, from: Timestamp, series: &Series, ordinal: u64) -> Result<(RowKey, Vec<u8>), StoreError> {
        let service = self.interners.services.intern(self.write, &[], &text_content(series.labels.get(label::SERVICE)))?;
        let sample_type = self.interners.types.intern(self.write, &[], &encode_type(&series.sample_type))?;
        let labels = self.interners.series.intern(self.write, &[], &encode_labels(&series.labels))?;
        let mut header = RowHeader::default();
        let mut stacks = self.stacks(service, &series.values, &mut header)?;
        stacks.sort_unstable();
        let key = RowKey { table: Table::Rows, service, sample_type, from, series: labels, ordinal };
        Ok((key, row::encode(&header, &stacks)))
    }

    /// The numbers of a series' stacks, with their values, which are counted.
    fn stacks(&mut self, service: u32, values: &[(StackId, u64)], header: &mut RowHeader) -> Result<Vec<(u32, u64)>, StoreError> {
        let tables = self.tables;
        let mut sought = std::mem::take(&mut self.sought);
        sought.words.clear();
        sought.stacks.clear();
        let mut numbers = Vec::with_capacity(values.len());
        for (place, (id, value)) in values.iter().enumerate() {
            let (locations, end) = parts(tables, *id);
            header.count(end, *value);
            if let Some(Some((known, number))) = self.stacks.get(id.index())
                && *known == service
            {
                numbers.push((*number, *value));
                continue;
            }
            sought.words.push(KnownStacks::head(service, end));
            let start = sought.words.len();
            sought.words.extend(locations.iter().map(|location| self.words.get(location.index()).map_or(0, |word| *word)));
            if sought.words[start..].contains(&0) {
                for (word, location) in sought.words[start..].iter_mut().zip(locations) {
                    *word = self.word(*location)?;
                }
            }
            sought.stacks.push((place, sought.words.len()));
            numbers.push((0, *value));
        }
        let starts = std::iter::once(0).chain(sought.stacks.iter().map(|(_, end)| *end));
        let known = &mut self.interners.known;
        let hashed: Vec<StackWords<'_>> =
            starts.zip(&sought.stacks).map(|(start, (_, end))| known.hashed(&sought.words[start..*end])).collect();
        let found: Vec<Option<u32>> = hashed.iter().map(|stack| known.find(*stack)).collect();
        for ((stack, found), (place, _)) in hashed.into_iter().zip(found).zip(&sought.stacks) {
            let (id, _) = values[*place];
            let number = match found {
                Some(number) => number,
                None => self.new_stack(service, id, stack)?,
            };
            numbers[*place].0 = number;
            remember(&mut self.stacks, id.index(), (service, number));
        }
        self.sought = sought;
        Ok(numbers)
    }

    /// The number of a stack that was not used lately.
    fn new_stack(&mut self, service: u32, id: StackId, words: StackWords<'_>) -> Result<u32, StoreError> {
        // It may have come with another of the same series.
        if let Some(number) = self.interners.known.find(words) {
            return Ok(number);
        }
        let (locations, end) = parts(self.tables, id);
        let mut numbers = std::mem::take(&mut self.content);
        numbers.clear();
        for location in locations {
            numbers.push(self.location(*location)?);
        }
        let put = |out: &mut Vec<u8>| put_stack(out, &numbers, end);
        let forgot = self.interners.known.forgot();
        let number = self.interners.stacks.intern_uncached(self.write, &service.to_be_bytes(), forgot, put)?;
        self.content = numbers;
        self.interners.known.insert(words, number);
        Ok(number)
    }

    /// The word of a location. Where it has names, or does not fit into one, it is its number.
    fn word(&mut self, id: LocationId) -> Result<u64, StoreError> {
        if let Some(word) = self.words.get(id.index()).copied().filter(|word| *word != 0) {
            return Ok(word);
        }
        let word = match self.tables.location(id) {
            Some(location) if location.lines.is_empty() => {
                let object = location.object.map(|object| self.object(object)).transpose()?;
                self.interners.known.address(location.kind, object, location.address.0)
            }
            // As [`Self::location`] has it: equal locations must have equal words.
            None => self.interners.known.address(FrameKind::Other, None, 0),
            Some(_) => None,
        };
        let word = match word {
            Some(word) => word,
            None => KnownStacks::numbered(self.location(id)?),
        };
        if let Some(place) = self.words.get_mut(id.index()) {
            *place = word;
        }
        Ok(word)
    }

    fn location(&mut self, id: LocationId) -> Result<u32, StoreError> {
        if let Some(Some(number)) = self.locations.get(id.index()) {
            return Ok(*number);
        }
        let tables = self.tables;
        let record = match tables.location(id) {
            None => LocationRecord { kind: FrameKind::Other, object: None, address: 0, lines: Vec::new() },
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

/// The locations of a stack, and how it ends.
fn parts(tables: &Tables, id: StackId) -> (&[LocationId], StackEnd) {
    tables.stack(id).map_or((&[], StackEnd::Unstated), |stack| (&*stack.locations, stack.end))
}

/// A handle that points nowhere is not remembered.
fn remember<T>(numbers: &mut [Option<T>], index: usize, number: T) {
    if let Some(place) = numbers.get_mut(index) {
        *place = Some(number);
    }
}
