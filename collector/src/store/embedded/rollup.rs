//! Deriving the tiers of minutes and hours from raw rows.
//!
//! One marker at a time: the raw rows that its bucket lacks are added up and added to what the bucket holds, in one write with
//! the marker's end. Nothing needs to be durable: what a crash takes away is still marked, and is derived again. A late batch
//! marks its buckets again, and only its own rows are added to them.
//!
//! Buckets are derived a little after their end, so that in the usual case each is derived once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use flamekeeper_profile::{Labels, Timestamp, label};

use super::append::{Writer, text_content};
use super::codec::{Damaged, Reader};
use super::dirty::{DirtyKey, Subject};
use super::group_sync::GroupSync;
use super::interners::Interners;
use super::keyspaces::Keyspaces;
use super::ledgers::{AgentLedger, BucketLedgers, RawLedger, decode_bucket, encode_bucket, ledger_bucket, ledger_ordinal};
use super::part::{MERGED_LABELS, read_series};
use super::records::encode_labels;
use super::row::{self, RowHeader, RowKey, Table};
use super::tier::{Kind, Width};
use super::view::View;
use super::words::Words;
use super::{corrupt, engine};
use crate::store::StoreError;

/// How long after a bucket's end it is derived: agents send a window some seconds after its end.
const GRACE: u64 = 30 * Timestamp::SECOND;

/// What a pass derived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RolledUp {
    /// Buckets of a service and type (or of ledgers) that were brought up to date.
    pub buckets: u64,
    /// Raw rows and ledgers that were added up for them.
    pub rows: u64,
}

/// What a row gains.
#[derive(Debug, Default)]
struct Delta {
    header: RowHeader,
    hosts: BTreeSet<String>,
    stacks: HashMap<u32, u64, foldhash::fast::RandomState>,
}

impl Delta {
    fn add_stack(&mut self, stack: u32, value: u64) {
        let sum = self.stacks.entry(stack).or_default();
        *sum = sum.saturating_add(value);
    }

    /// Adds a row as it is stored.
    fn add_row(&mut self, value: &[u8]) -> Result<RowHeader, Damaged> {
        let mut reader = Reader::new(value);
        let header = row::decode_header(&mut reader)?;
        self.header.add(&header);
        row::decode_stacks(&mut reader, |stack, value| self.add_stack(stack, value))?;
        Ok(header)
    }
}

/// What a bucket gains.
enum Gain {
    /// Rows by what their series share; for hours those of each series too.
    Rows {
        merged: BTreeMap<Labels, Delta>,
        series: BTreeMap<u32, Delta>,
    },
    Ledgers(Vec<(Labels, AgentLedger)>),
}

/// Brings all buckets up to date that ended a while before `now`. There must be one caller at a time.
pub(super) fn roll_up(keyspaces: &Keyspaces, writer: &Mutex<Writer>, sync: &GroupSync, now: Timestamp) -> Result<RolledUp, StoreError> {
    let due = |key: &&DirtyKey| key.window().to.saturating_add(GRACE) <= now;
    let keys: Vec<DirtyKey> = lock(writer, sync)?.markers.keys().filter(due).copied().collect();
    let mut rolled = RolledUp::default();
    for key in keys {
        rolled.rows += roll_bucket(keyspaces, writer, sync, key)?;
        rolled.buckets += 1;
    }
    Ok(rolled)
}

fn lock<'a>(writer: &'a Mutex<Writer>, sync: &GroupSync) -> Result<std::sync::MutexGuard<'a, Writer>, StoreError> {
    let guard = writer.lock().map_err(|_| StoreError::Closed)?;
    if sync.failed() { Err(StoreError::Closed) } else { Ok(guard) }
}

fn roll_bucket(keyspaces: &Keyspaces, writer: &Mutex<Writer>, sync: &GroupSync, key: DirtyKey) -> Result<u64, StoreError> {
    let (view, ordinals) = {
        let writer = lock(writer, sync)?;
        let Some(lacks) = writer.markers.get(&key) else { return Ok(0) };
        // Under the lock, so that the view holds every batch before the next one.
        (keyspaces.view(), lacks.first..writer.totals.batches)
    };
    let (gain, rows) = match key.subject {
        Subject::Ledgers => lacking_ledgers(&view, key, &ordinals)?,
        Subject::Rows { service, sample_type } => {
            let words = Words::new(&keyspaces.slot(Kind::Words, key.bucket)?);
            lacking_rows(&view, &words, key, (service, sample_type), &ordinals)?
        }
    };
    let mut writer = lock(writer, sync)?;
    let written = write(keyspaces, &mut writer, key, gain, ordinals.end);
    if let Err(error) = &written {
        writer.interners.reset();
        if matches!(error, StoreError::Engine { .. }) {
            sync.fail();
        }
    }
    written.map(|()| rows)
}

/// Writes what a bucket gains, and ends its marker or moves it on.
fn write(keyspaces: &Keyspaces, writer: &mut Writer, key: DirtyKey, gain: Gain, next: u64) -> Result<(), StoreError> {
    let mut write = keyspaces.database.batch();
    let target = keyspaces.slot(key.width.kind(), key.bucket)?;
    let interners = writer.interners.at(keyspaces, key.bucket)?;
    match (gain, key.subject) {
        (Gain::Ledgers(gained), _) => {
            let bucket = ledger_bucket(key.bucket);
            let value = add_ledgers(&target, &bucket, gained, (interners, &mut write), key.width == Width::Hour)?;
            write.insert(&target, bucket, value);
        }
        (Gain::Rows { merged, series }, Subject::Rows { service, sample_type }) => {
            let row_key = |table, series| RowKey { table, service, sample_type, from: key.bucket, series, ordinal: 0 };
            for (labels, delta) in merged {
                let number = interners.series.intern(&mut write, &[], &encode_labels(&labels))?;
                let hosts = delta.hosts.iter().map(|host| interners.hosts.intern(&mut write, &[], &text_content(host)));
                let hosts = hosts.collect::<Result<BTreeSet<u32>, _>>()?;
                let row_key = row_key(Table::Rows, number).encode();
                write.insert(&target, row_key, add_row(&target, &row_key, delta, hosts)?);
            }
            for (number, delta) in series {
                let row_key = row_key(Table::Series, number).encode();
                write.insert(&target, row_key, add_row(&target, &row_key, delta, BTreeSet::new())?);
            }
        }
        (Gain::Rows { .. }, Subject::Ledgers) => {}
    }
    let touched_since = writer.markers.get(&key).is_some_and(|lacks| lacks.last >= next);
    if touched_since {
        write.insert(&keyspaces.dirty, key.encode(), next.to_be_bytes());
    } else {
        write.remove(&keyspaces.dirty, key.encode());
    }
    write.commit().map_err(engine("write roll-ups"))?;
    match writer.markers.get_mut(&key) {
        Some(lacks) if touched_since => lacks.first = next,
        _ => drop(writer.markers.remove(&key)),
    }
    writer.interners.trim();
    Ok(())
}

type Ordinals = std::ops::Range<u64>;

/// The rows of a bucket from batches in a range of ordinals, added up.
fn lacking_rows(
    view: &View,
    words: &Words,
    key: DirtyKey,
    (service, sample_type): (u32, u32),
    ordinals: &Ordinals,
) -> Result<(Gain, u64), StoreError> {
    let (mut merged, mut series, mut rows) = (MergedRows::default(), BTreeMap::<u32, Delta>::new(), 0);
    view.entries(Kind::Raw, &RowKey::prefix(Table::Rows, service, sample_type), key.window(), |row, value| {
        let row = RowKey::decode(row).map_err(corrupt("row key"))?;
        if !ordinals.contains(&row.ordinal) {
            return Ok(());
        }
        let delta = match key.width {
            // Nothing is kept of each series, so that its rows need not be added up by themselves first.
            Width::Minute => merged.of(words, row.series)?,
            Width::Hour => series.entry(row.series).or_default(),
        };
        delta.add_row(value).map_err(corrupt("row"))?;
        rows += 1;
        Ok(())
    })?;
    for (number, delta) in &series {
        let sum = merged.of(words, *number)?;
        sum.header.add(&delta.header);
        delta.stacks.iter().for_each(|(stack, value)| sum.add_stack(*stack, *value));
    }
    Ok((Gain::Rows { merged: merged.finish(), series }, rows))
}

/// Rows of series that share service and version, added up, with their hosts.
#[derive(Default)]
struct MergedRows {
    rows: Vec<Delta>,
    by_labels: BTreeMap<Labels, usize>,
    by_series: HashMap<u32, usize, foldhash::fast::RandomState>,
}

impl MergedRows {
    /// The row that a series belongs to.
    fn of(&mut self, words: &Words, series: u32) -> Result<&mut Delta, StoreError> {
        let place = match self.by_series.get(&series) {
            Some(place) => *place,
            None => {
                let labels = read_series(words, series)?;
                let shared = MERGED_LABELS.into_iter().fold(Labels::new(), |shared, name| shared.with(name, labels.get(name)));
                let place = *self.by_labels.entry(shared).or_insert(self.rows.len());
                if place == self.rows.len() {
                    self.rows.push(Delta::default());
                }
                self.rows[place].hosts.insert(labels.get(label::HOST).to_owned());
                self.by_series.insert(series, place);
                place
            }
        };
        Ok(&mut self.rows[place])
    }

    fn finish(mut self) -> BTreeMap<Labels, Delta> {
        self.by_labels.into_iter().map(|(labels, place)| (labels, std::mem::take(&mut self.rows[place]))).collect()
    }
}

/// A row with what it gains.
fn add_row(target: &fjall::Keyspace, key: &[u8], mut delta: Delta, mut hosts: BTreeSet<u32>) -> Result<Vec<u8>, StoreError> {
    if let Some(old) = target.get(key).map_err(engine("read roll-ups"))? {
        hosts.extend(delta.add_row(&old).map_err(corrupt("roll-up"))?.hosts);
    }
    delta.header.hosts = hosts.into_iter().collect();
    let mut stacks: Vec<(u32, u64)> = delta.stacks.into_iter().collect();
    stacks.sort_unstable();
    Ok(row::encode(&delta.header, &stacks))
}

/// The ledgers of a bucket from batches in a range of ordinals, added up per agent.
fn lacking_ledgers(view: &View, key: DirtyKey, ordinals: &Ordinals) -> Result<(Gain, u64), StoreError> {
    let mut found: BTreeMap<Labels, AgentLedger> = BTreeMap::new();
    let mut rows = 0;
    view.entries(Kind::Raw, &[Table::Ledgers as u8], key.window(), |key, value| {
        if ordinals.contains(&ledger_ordinal(key).map_err(corrupt("ledger key"))?) {
            let raw = RawLedger::decode(value).map_err(corrupt("ledger"))?;
            found.entry(raw.labels).or_default().add(&raw.ledger);
            rows += 1;
        }
        Ok(())
    })?;
    Ok((Gain::Ledgers(found.into_iter().collect()), rows))
}

/// The ledgers of a bucket with what they gain.
fn add_ledgers(
    target: &fjall::Keyspace,
    key: &[u8],
    gained: Vec<(Labels, AgentLedger)>,
    (interners, write): (&mut Interners, &mut fjall::OwnedWriteBatch),
    with_figures: bool,
) -> Result<Vec<u8>, StoreError> {
    let mut ledgers = BucketLedgers::new();
    if let Some(old) = target.get(key).map_err(engine("read roll-ups"))? {
        decode_bucket(&old, |number, ledger| ledgers.extend([(number, ledger)])).map_err(corrupt("ledgers"))?;
    }
    for (labels, ledger) in gained {
        let number = interners.series.intern(write, &[], &encode_labels(&labels))?;
        ledgers.entry(number).or_default().add(&ledger);
    }
    Ok(encode_bucket(&ledgers, with_figures))
}
