//! Storing a batch.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, PoisonError};

use flamekeeper_profile::{Batch, Series, StackId, label};
use flamekeeper_wire::BatchId;

use super::ClickHouseStore;
use super::client::{Query, escape_all};
use super::content::{ContentId, encode_labels, encode_stack, encode_type};
use super::error::damaged;
use super::hosts::{TAKEN, encode_figures};
use super::plan::slot;
use super::rowbinary::{Damaged, Reader, Rows};
use crate::store::{Appended, StoreError};

/// For how long, in nanoseconds, tables remember the tokens of what came: see the module's doc.
pub(super) const TOKENS_HOLD: u64 = 600_000_000_000;

/// Entries of dictionaries that are known to be stored.
const MAX_KNOWN: usize = 2_000_000;

/// A dictionary's entry: slot of time, whether it is a stack, service, content.
type Entry = (u32, bool, ContentId);

/// What this collector knows to be in the dictionaries: it is not sent again. What is forgotten is sent again, and is once there.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashSet<Entry, foldhash::fast::RandomState>>);

impl Known {
    fn has(&self, entry: &Entry) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(entry)
    }

    fn add(&self, entries: Vec<Entry>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + entries.len() > MAX_KNOWN {
            known.clear();
        }
        known.extend(entries);
    }
}

/// The batches that are being stored: of one identity only one at a time, so that the second one finds what the first one did.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    ids: Mutex<HashSet<BatchId>>,
    ended: Condvar,
}

/// Ends when it is dropped.
struct Turn<'a>(&'a UnderWay, &'a BatchId);

impl UnderWay {
    fn wait<'a>(&'a self, id: &'a BatchId) -> Turn<'a> {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        while !ids.insert(id.clone()) {
            ids = self.ended.wait(ids).unwrap_or_else(PoisonError::into_inner);
        }
        Turn(self, id)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(self.1);
        self.0.ended.notify_all();
    }
}

impl ClickHouseStore {
    /// See [`crate::store::Store::append`].
    pub(super) fn store(&self, id: &BatchId, batch: &Batch) -> Result<Appended, StoreError> {
        let _turn = self.under_way.wait(id);
        if self.is_known(id)? {
            return Ok(Appended::Duplicate);
        }
        let kept_from = self.floors().hour;
        if batch.window.from < kept_from {
            return Err(StoreError::Expired { kept_from: kept_from.as_seconds() });
        }
        let mut encoded = Encoded::of(batch, &self.known);
        let token = id.to_string();
        // Without a token: what another attempt sent may have been less, since its collector knew more.
        self.insert("series (slot, service, host, id, labels)", None, std::mem::take(&mut encoded.series))?;
        self.insert("stacks (slot, service, id, content)", None, std::mem::take(&mut encoded.stacks))?;
        self.known.add(std::mem::take(&mut encoded.entries));
        let late = (self.clock)().0.saturating_sub(batch.window.to.0) > TOKENS_HOLD;
        if !(late && self.has_samples(batch, &encoded)?) {
            let columns = "samples (at, service, version, host, profile, sample_type, series, stack, stack_end, value)";
            self.insert(columns, Some(&token), std::mem::take(&mut encoded.samples))?;
        }
        let columns = "batches (agent, sequence, at, until, host, labels, samples, counts, figures)";
        self.insert(columns, Some(&token), batch_row(id, batch))?;
        Ok(Appended::Accepted)
    }

    fn insert(&self, into: &str, token: Option<&str>, rows: Rows) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let statement = format!("INSERT INTO {into} FORMAT RowBinary");
        self.client.insert(&statement, token, rows.into_bytes()).map_err(|error| self.explain(error, "write a batch"))
    }

    fn is_known(&self, id: &BatchId) -> Result<bool, StoreError> {
        let text = format!(
            "SELECT count() FROM (SELECT 1 FROM batches WHERE agent = {{agent:String}} AND sequence = {} LIMIT 1) FORMAT RowBinary",
            id.sequence
        );
        let answer = self.ask(&Query::new(text).with("agent", id.agent.as_str()), "look a batch up")?;
        Ok(Reader::new(&answer).u64().map_err(damaged("a batch"))? > 0)
    }

    /// Whether each row of a batch is there already: an earlier attempt may have ended before the row that makes it count.
    fn has_samples(&self, batch: &Batch, encoded: &Encoded) -> Result<bool, StoreError> {
        if encoded.rows.is_empty() {
            return Ok(false);
        }
        let mut missing: HashMap<([u8; 16], [u8; 16], u64), u64> = HashMap::new();
        for row in &encoded.rows {
            *missing.entry(*row).or_default() += 1;
        }
        let services: HashSet<&str> = batch.series.iter().map(|series| series.labels.get(label::SERVICE)).collect();
        let mut series: Vec<String> = encoded.rows.iter().map(|(series, _, _)| ContentId(*series).hex()).collect();
        series.dedup();
        let text = format!(
            "SELECT series, stack, value, count() FROM samples WHERE service IN {{services:Array(String)}} AND at = {} \
             AND hex(series) IN {{series:Array(String)}} GROUP BY series, stack, value FORMAT RowBinary",
            batch.window.from.0
        );
        let mut query = Query::new(text);
        query.parameters.push(("services".to_owned(), escape_all(services)));
        let upper: Vec<String> = series.iter().map(|id| id.to_uppercase()).collect();
        query.parameters.push(("series".to_owned(), escape_all(upper.iter().map(String::as_str))));
        let answer = self.ask(&query, "look a batch's samples up")?;
        let mut reader = Reader::new(&answer);
        while !reader.is_empty() {
            let mut read = || Ok::<_, Damaged>(((reader.fixed()?, reader.fixed()?, reader.u64()?), reader.u64()?));
            let (row, count) = read().map_err(damaged("a batch's samples"))?;
            if missing.get(&row).is_some_and(|wanted| *wanted <= count) {
                missing.remove(&row);
            }
        }
        Ok(missing.is_empty())
    }
}

/// What a batch becomes: rows of tables, and the entries of dictionaries that they bring.
#[derive(Debug, Default)]
struct Encoded {
    series: Rows,
    stacks: Rows,
    samples: Rows,
    entries: Vec<Entry>,
    /// Series, stack and value of each row.
    rows: Vec<([u8; 16], [u8; 16], u64)>,
}

impl Encoded {
    fn of(batch: &Batch, known: &Known) -> Self {
        let mut encoded = Self::default();
        let mut contents: HashMap<StackId, (ContentId, Vec<u8>), foldhash::fast::RandomState> = HashMap::default();
        // A series without values would be one without samples in every answer.
        for series in batch.series.iter().filter(|series| !series.values.is_empty()) {
            encoded.add(batch, series, known, &mut contents);
        }
        encoded
    }

    fn add(
        &mut self,
        batch: &Batch,
        series: &Series,
        known: &Known,
        contents: &mut HashMap<StackId, (ContentId, Vec<u8>), foldhash::fast::RandomState>,
    ) {
        let slot = slot(batch.window.from);
        let get = |name| series.labels.get(name);
        let (service, host) = (get(label::SERVICE), get(label::HOST));
        let id = ContentId::of(encode_labels(&series.labels).as_bytes());
        if self.is_new(known, (slot, false, id)) {
            self.series.u32(slot);
            self.series.text(service);
            self.series.text(host);
            self.series.raw(&id.0);
            self.series.length(series.labels.len() as u64);
            for (name, value) in series.labels.iter() {
                self.series.text(name);
                self.series.text(value);
            }
        }
        let mut head = Rows::default();
        head.u64(batch.window.from.0);
        for text in [service, get(label::VERSION), host, series.sample_type.query_name(), &encode_type(&series.sample_type)] {
            head.text(text);
        }
        head.raw(&id.0);
        let head = head.into_bytes();
        for (stack, value) in &series.values {
            let (stack_id, content) = contents.entry(*stack).or_insert_with(|| {
                let content = encode_stack(&batch.tables, batch.tables.stack(*stack));
                (ContentId::of(&content), content)
            });
            let key = ContentId::of(&[service.as_bytes(), &stack_id.0].concat());
            let stack_id = *stack_id;
            let end = batch.tables.stack(*stack).map_or(flamekeeper_profile::StackEnd::Unstated, |stack| stack.end);
            self.samples.raw(&head);
            self.samples.raw(&stack_id.0);
            self.samples.text(end.as_str());
            self.samples.u64(*value);
            self.rows.push((id.0, stack_id.0, *value));
            if !known.has(&(slot, true, key)) {
                self.stacks.u32(slot);
                self.stacks.text(service);
                self.stacks.raw(&stack_id.0);
                self.stacks.string(content);
                self.entries.push((slot, true, key));
            }
        }
    }

    /// Whether an entry is to be sent; then it is noted.
    fn is_new(&mut self, known: &Known, entry: Entry) -> bool {
        let new = !known.has(&entry);
        self.entries.extend(new.then_some(entry));
        new
    }
}

/// The row that makes a batch count.
fn batch_row(id: &BatchId, batch: &Batch) -> Rows {
    let mut row = Rows::default();
    row.text(id.agent.as_str());
    row.u64(id.sequence);
    row.u64(batch.window.from.0);
    row.u64(batch.window.to.0);
    row.text(batch.labels.get(label::HOST));
    row.text(&encode_labels(&batch.labels));
    row.u64(batch.samples());
    let entries: Vec<(String, u64)> = batch.ledger.entries().collect();
    row.length(entries.len() as u64 + 1);
    row.text(TAKEN);
    row.u64(batch.ledger.taken);
    for (name, count) in entries {
        row.text(&name);
        row.u64(count);
    }
    row.text(&encode_figures(&batch.figures));
    row
}
