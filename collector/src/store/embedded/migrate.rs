//! From layout 1, which had one raw tier and dictionaries without end, to layout 2.
//!
//! What is written for layout 2 lies beside what is read, and the version is raised once all of it is durable; only then the old
//! keyspaces are deleted. A migration that was cut off begins anew.
//!
//! ```text
//! rows       service u32 | type u32 | window start u64 | series u32 | ordinal u64, big endian
//!            window length | sum of values | count of ends { code of end | sum }* | count of stacks { difference | value }*
//! ledgers    window start u64 | ordinal u64 -> as now
//! batches    as now
//! *_content  of texts, objects, locations, stacks, services, types and series: [prefix |] number u32 -> content, as now
//! ```

use std::collections::{BTreeSet, HashMap};

use fjall::{Keyspace, KeyspaceCreateOptions, PersistMode};
use flamekeeper_profile::{SampleType, Series, Tables, Timestamp};

use super::codec::{Damaged, Reader};
use super::dirty::{DirtyKey, Subject};
use super::interner::Dictionary;
use super::interners::InternersBySlot;
use super::keyspaces::Keyspaces;
use super::lexicon::Lexicon;
use super::numbers::Numbers;
use super::part::read_series;
use super::records::decode_type;
use super::resolve::Resolver;
use super::tier::{Kind, Slot, Width};
use super::words::Words;
use super::{corrupt, engine, ledgers, row};
use crate::store::StoreError;
use crate::watch::Ticker;

/// Memory for entries of dictionaries that were read.
const LEXICON_BYTES: u64 = 32 << 20;
/// Rows that one write takes over.
const CHUNK: usize = 2048;

/// The dictionaries of layout 1, of which only contents are read.
const DICTIONARIES: [&str; 7] = ["texts", "objects", "locations", "stacks", "services", "types", "series"];

/// Deletes what a migration that was cut off has left.
pub(super) fn clean(database: &fjall::Database) -> Result<(), StoreError> {
    for name in database.list_keyspace_names() {
        if Slot::parse(&name).is_some() || &*name == "dirty" {
            let keyspace = open(database, &name)?;
            database.delete_keyspace(keyspace).map_err(engine("delete what a migration left"))?;
        }
    }
    Ok(())
}

/// Takes over all of layout 1; durable when it returns. The version is the caller's.
pub(super) fn take_over(keyspaces: &Keyspaces) -> Result<(), StoreError> {
    let database = &keyspaces.database;
    let mut old = Old::new(database)?;
    let mut interners = InternersBySlot::new(128 << 20);
    let mut rows = open(database, "rows")?.iter();
    loop {
        let chunk: Vec<_> = rows.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            break;
        }
        let mut read = Vec::with_capacity(chunk.len());
        let mut tables = Tables::new();
        for entry in chunk {
            let (key, value) = entry.into_inner().map_err(engine("read rows"))?;
            read.push(old.row(&key, &value, &mut tables)?);
        }
        write_rows(keyspaces, &mut interners, &tables, &read)?;
    }
    for (from, key, value) in starts(&open(database, "ledgers")?)? {
        let ordinal = key.get(8..).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes);
        let ordinal = ordinal.ok_or(Damaged).map_err(corrupt("ledger key"))?;
        let mut write = database.batch();
        write.insert(&keyspaces.slot(Kind::Raw, from)?, ledgers::ledger_key(from, ordinal), value);
        mark(keyspaces, &mut write, from, Subject::Ledgers);
        write.commit().map_err(engine("take ledgers over"))?;
    }
    for entry in open(database, "batches")?.iter() {
        let (key, value) = entry.into_inner().map_err(engine("read batches"))?;
        let from = value.first_chunk().copied().map(u64::from_be_bytes).ok_or(Damaged).map_err(corrupt("batch"))?;
        keyspaces.slot(Kind::Batches, Timestamp(from))?.insert(key, value).map_err(engine("take batches over"))?;
    }
    database.persist(PersistMode::SyncAll).map_err(engine("take layout 1 over"))
}

/// Deletes the keyspaces of layout 1, after the version was raised.
pub(super) fn delete_old(database: &fjall::Database) -> Result<(), StoreError> {
    let halves = DICTIONARIES.into_iter().flat_map(|name| [format!("{name}_content"), format!("{name}_number")]);
    for name in ["rows", "ledgers", "batches"].map(str::to_owned).into_iter().chain(halves) {
        if database.keyspace_exists(&name) {
            database.delete_keyspace(open(database, &name)?).map_err(engine("delete layout 1"))?;
        }
    }
    Ok(())
}

fn open(database: &fjall::Database, name: &str) -> Result<Keyspace, StoreError> {
    database.keyspace(name, KeyspaceCreateOptions::default).map_err(engine("open a keyspace"))
}

type Start = (Timestamp, fjall::Slice, fjall::Slice);

/// Entries whose key begins with a window's start.
fn starts(keyspace: &Keyspace) -> Result<Vec<Start>, StoreError> {
    let read = |entry: fjall::Guard| {
        let (key, value) = entry.into_inner().map_err(engine("read ledgers"))?;
        let from = key.first_chunk().copied().map(u64::from_be_bytes).ok_or(Damaged).map_err(corrupt("ledger key"))?;
        Ok((Timestamp(from), key, value))
    };
    keyspace.iter().map(read).collect()
}

/// Marks the buckets of a start as lacking all batches.
fn mark(keyspaces: &Keyspaces, write: &mut fjall::OwnedWriteBatch, from: Timestamp, subject: Subject) {
    for width in [Width::Minute, Width::Hour] {
        write.insert(&keyspaces.dirty, DirtyKey::of(width, from, subject).encode(), 0_u64.to_be_bytes());
    }
}

/// A row of layout 1, read.
struct OldRow {
    from: Timestamp,
    ordinal: u64,
    series: Series,
}

fn write_rows(keyspaces: &Keyspaces, interners: &mut InternersBySlot, tables: &Tables, rows: &[OldRow]) -> Result<(), StoreError> {
    let weeks: BTreeSet<Slot> = rows.iter().map(|row| Slot::of(Kind::Words, row.from)).collect();
    for week in weeks {
        let mut write = keyspaces.database.batch();
        let mut subjects = BTreeSet::new();
        let mut numbers = Numbers::new(interners.at(keyspaces, week.window().from)?, &mut write, tables);
        for row in rows.iter().filter(|row| week.window().contains(row.from)) {
            let (key, value) = numbers.row(row.from, &row.series, row.ordinal)?;
            numbers.write.insert(&keyspaces.slot(Kind::Raw, row.from)?, key.encode(), value);
            subjects.insert((Width::Minute.bucket(row.from), Subject::Rows { service: key.service, sample_type: key.sample_type }));
        }
        subjects.into_iter().for_each(|(from, subject)| mark(keyspaces, &mut write, from, subject));
        write.commit().map_err(engine("take rows over"))?;
        interners.trim();
    }
    Ok(())
}

/// The dictionaries of layout 1.
struct Old {
    words: Words,
    types: HashMap<u32, SampleType>,
    lexicon: Lexicon,
}

impl Old {
    fn new(database: &fjall::Database) -> Result<Self, StoreError> {
        let dictionary = |name: &'static str| Ok(Dictionary::untagged(open(database, &format!("{name}_content"))?, name));
        let words = Words {
            texts: dictionary("texts")?,
            objects: dictionary("objects")?,
            locations: dictionary("locations")?,
            stacks: dictionary("stacks")?,
            services: dictionary("services")?,
            types: dictionary("types")?,
            series: dictionary("series")?,
            // It had none, and no row refers to one.
            hosts: dictionary("services")?,
        };
        Ok(Self { words, types: HashMap::new(), lexicon: Lexicon::new(LEXICON_BYTES) })
    }

    fn row(&mut self, key: &[u8], value: &[u8], tables: &mut Tables) -> Result<OldRow, StoreError> {
        let key: &[u8; 28] = key.try_into().map_err(|_| Damaged).map_err(corrupt("row key"))?;
        let word = |at: usize| u32::from_be_bytes([key[at], key[at + 1], key[at + 2], key[at + 3]]);
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        let sample_type = match self.types.get(&word(4)) {
            Some(known) => known.clone(),
            None => {
                let content = self.words.types.content(&[], word(4))?;
                let sample_type = decode_type(&content).map_err(corrupt("sample type"))?;
                self.types.insert(word(4), sample_type.clone());
                sample_type
            }
        };
        let labels = read_series(&self.words, word(16))?;
        let mut stacks = Vec::new();
        read_stacks(value, |stack, value| stacks.push((stack, value))).map_err(corrupt("row"))?;
        let ticker = Ticker::current();
        let numbers: Vec<u32> = stacks.iter().map(|(stack, _)| *stack).collect();
        let mut ids = Vec::with_capacity(stacks.len());
        // What it had was one slot.
        let slot = Slot::of(Kind::Words, Timestamp(0));
        Resolver::new((slot, &self.words), &self.lexicon, &ticker, tables).stacks(word(0), &numbers, |id, _| ids.push(id))?;
        let values = ids.into_iter().zip(stacks).map(|(id, (_, value))| (id, value)).collect();
        let series = Series { labels, sample_type, values };
        Ok(OldRow { from: Timestamp(long(8)), ordinal: long(20), series })
    }
}

/// The stacks of a row of layout 1: its sums are counted anew.
fn read_stacks(value: &[u8], visit: impl FnMut(u32, u64)) -> Result<(), Damaged> {
    let mut reader = Reader::new(value);
    let (_length, _total) = (reader.number()?, reader.number()?);
    for _ in 0..reader.number()? {
        let (_end, _sum) = (reader.number()?, reader.number()?);
    }
    row::decode_stacks(&mut reader, visit)
}
