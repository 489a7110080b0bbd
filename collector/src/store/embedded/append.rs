//! Storing a batch.

use std::collections::HashMap;

use fjall::OwnedWriteBatch;
use flamekeeper_profile::{Batch, LocationId, Object, ObjectId, Series, StackEnd, StackId, StringId, Tables, label};
use flamekeeper_wire::BatchId;

use super::codec::{put, put_bytes};
use super::engine;
use super::interner::Interner;
use super::keyspaces::{Keyspaces, TOTALS_KEY};
use super::records::{LocationRecord, ObjectRecord, encode_labels, encode_stack, encode_type, put_labels, put_ledger};
use super::row::{self, RowHeader, RowKey};
use super::totals::Totals;
use crate::store::{Appended, StoreError};

/// What the one writer knows.
#[derive(Debug)]
pub(super) struct Writer {
    texts: Interner,
    objects: Interner,
    locations: Interner,
    stacks: Interner,
    services: Interner,
    types: Interner,
    series: Interner,
    totals: Totals,
}

impl Writer {
    pub(super) fn new(keyspaces: &Keyspaces) -> Result<Self, StoreError> {
        Ok(Self {
            texts: Interner::new(keyspaces.texts.clone()),
            objects: Interner::new(keyspaces.objects.clone()),
            locations: Interner::new(keyspaces.locations.clone()),
            stacks: Interner::new(keyspaces.stacks.clone()),
            services: Interner::new(keyspaces.services.clone()),
            types: Interner::new(keyspaces.types.clone()),
            series: Interner::new(keyspaces.series.clone()),
            totals: keyspaces.totals()?,
        })
    }

    /// Writes a batch, not yet durably.
    pub(super) fn append(&mut self, keyspaces: &Keyspaces, id: &BatchId, batch: &Batch) -> Result<Appended, StoreError> {
        let key = batch_key(id);
        if keyspaces.batches.contains_key(&key).map_err(engine("look a batch up"))? {
            return Ok(Appended::Duplicate);
        }
        let mut write = keyspaces.database.batch();
        let written = self.write(&mut write, keyspaces, batch, &key).and_then(|totals| {
            write.commit().map_err(engine("write a batch"))?;
            Ok(totals)
        });
        match written {
            Ok(totals) => {
                self.totals = totals;
                self.each_interner(Interner::trim);
                Ok(Appended::Accepted)
            }
            Err(error) => {
                // What was interned for it is not on disk; numbers are read from there again.
                self.each_interner(Interner::reset);
                Err(error)
            }
        }
    }

    fn each_interner(&mut self, change: impl Fn(&mut Interner)) {
        let all = [
            &mut self.texts,
            &mut self.objects,
            &mut self.locations,
            &mut self.stacks,
            &mut self.services,
            &mut self.types,
            &mut self.series,
        ];
        all.into_iter().for_each(change);
    }

    fn write(&mut self, write: &mut OwnedWriteBatch, keyspaces: &Keyspaces, batch: &Batch, key: &[u8]) -> Result<Totals, StoreError> {
        let mut totals = self.totals;
        let ordinal = totals.batches;
        totals.batches += 1;
        totals.samples = totals.samples.saturating_add(batch.samples());
        totals.ledger.add(&batch.ledger);
        let mut numbers = Numbers {
            writer: self,
            write,
            tables: &batch.tables,
            texts: vec![None; batch.tables.strings().len()],
            objects: vec![None; batch.tables.objects().len()],
            locations: vec![None; batch.tables.locations().len()],
            stacks: HashMap::default(),
            content: Vec::new(),
        };
        // A series without values would be one without samples in every answer.
        for series in batch.series.iter().filter(|series| !series.values.is_empty()) {
            let (key, value) = numbers.row(batch, series, ordinal)?;
            numbers.write.insert(&keyspaces.rows, key.encode(), value);
        }
        let from = batch.window.from.0.to_be_bytes();
        let mut ledger = Vec::new();
        put(&mut ledger, batch.window.to.0);
        put_labels(&mut ledger, &batch.labels);
        put_ledger(&mut ledger, &batch.ledger);
        write.insert(&keyspaces.ledgers, [from, ordinal.to_be_bytes()].concat(), ledger);
        write.insert(&keyspaces.batches, key, from);
        write.insert(&keyspaces.meta, TOTALS_KEY, totals.encode());
        Ok(totals)
    }
}

fn batch_key(id: &BatchId) -> Vec<u8> {
    [id.agent.as_str().as_bytes(), &[0], &id.sequence.to_be_bytes()].concat()
}

/// The numbers that a batch's handles have in the store; each handle is looked up once.
struct Numbers<'a> {
    writer: &'a mut Writer,
    write: &'a mut OwnedWriteBatch,
    tables: &'a Tables,
    texts: Vec<Option<u32>>,
    objects: Vec<Option<u32>>,
    locations: Vec<Option<u32>>,
    stacks: HashMap<(u32, StackId), u32, foldhash::fast::RandomState>,
    /// The locations of the stack at hand, kept for its memory.
    content: Vec<u32>,
}

impl Numbers<'_> {
    fn row(&mut self, batch: &Batch, series: &Series, ordinal: u64) -> Result<(RowKey, Vec<u8>), StoreError> {
        let service = self.writer.services.intern(self.write, &[], &text_content(series.labels.get(label::SERVICE)))?;
        let sample_type = self.writer.types.intern(self.write, &[], &encode_type(&series.sample_type))?;
        let labels = self.writer.series.intern(self.write, &[], &encode_labels(&series.labels))?;
        let mut header = RowHeader { length: batch.window.duration(), ..RowHeader::default() };
        let mut stacks = Vec::with_capacity(series.values.len());
        for (stack, value) in &series.values {
            let (number, end) = self.stack(service, *stack)?;
            stacks.push((number, *value));
            header.total = header.total.saturating_add(*value);
            if end != StackEnd::Root {
                match header.ends.iter_mut().find(|(other, _)| *other == end) {
                    Some((_, sum)) => *sum = sum.saturating_add(*value),
                    None => header.ends.push((end, *value)),
                }
            }
        }
        stacks.sort_unstable();
        let key = RowKey { service, sample_type, from: batch.window.from, series: labels, ordinal };
        Ok((key, row::encode(&header, &stacks)))
    }

    fn stack(&mut self, service: u32, id: StackId) -> Result<(u32, StackEnd), StoreError> {
        let tables = self.tables;
        let (locations, end) = tables.stack(id).map_or((&[][..], StackEnd::Unstated), |stack| (&*stack.locations, stack.end));
        if let Some(number) = self.stacks.get(&(service, id)) {
            return Ok((*number, end));
        }
        let mut numbers = std::mem::take(&mut self.content);
        numbers.clear();
        for location in locations {
            numbers.push(self.location(*location)?);
        }
        let content = encode_stack(numbers.iter().copied(), end);
        self.content = numbers;
        let number = self.writer.stacks.intern(self.write, &service.to_be_bytes(), &content)?;
        self.stacks.insert((service, id), number);
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
        let number = self.writer.locations.intern(self.write, &[], &record.encode())?;
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
        let number = self.writer.objects.intern(self.write, &[], &record.encode())?;
        remember(&mut self.objects, id.index(), number);
        Ok(number)
    }

    fn empty_text(&mut self) -> Result<u32, StoreError> {
        self.writer.texts.intern(self.write, &[], &text_content(""))
    }

    fn text(&mut self, id: StringId) -> Result<u32, StoreError> {
        if let Some(Some(number)) = self.texts.get(id.index()) {
            return Ok(*number);
        }
        let number = self.writer.texts.intern(self.write, &[], &text_content(self.tables.string(id)))?;
        remember(&mut self.texts, id.index(), number);
        Ok(number)
    }
}

/// A handle that points nowhere is not remembered.
fn remember(numbers: &mut [Option<u32>], index: usize, number: u32) {
    if let Some(place) = numbers.get_mut(index) {
        *place = Some(number);
    }
}

/// A key must not be empty, so a text stands with its length.
pub(super) fn text_content(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    put_bytes(&mut out, text.as_bytes());
    out
}
