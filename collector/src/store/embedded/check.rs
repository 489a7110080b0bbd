//! Looking at every entry of a store: can it be read, and does what it refers to exist.

use std::collections::HashMap;

use fjall::Keyspace;

use super::EmbeddedStore;
use super::codec::{Damaged, Reader};
use super::dirty::DirtyKey;
use super::interner::Dictionary;
use super::ledgers::{RawLedger, decode_bucket};
use super::records::{LocationRecord, ObjectRecord, decode_stack, decode_type, read_labels};
use super::row::{self, RowKey, Table};
use super::tier::{Kind, Slot};
use super::words::Words;
use crate::store::StoreError;

/// Damaged entries that are named; all are counted.
const NAMED: usize = 100;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Entries that were looked at.
    pub entries: u64,
    /// Those that cannot be read, or refer to nothing; or files that were changed.
    pub damaged: u64,
    /// Files that were changed since the collector closed them. Where there are any, entries were not looked at.
    pub files: u64,
    /// The first hundred of these: where, and what is wrong.
    pub damages: Vec<String>,
}

impl Checked {
    /// Of files that were changed: what is in them is not looked at, since opening them would cut journals off at their first damaged place.
    pub(crate) fn of_files(changed: Vec<String>) -> Self {
        let mut checked = Self { files: changed.len() as u64, ..Self::default() };
        changed.into_iter().for_each(|what| checked.damage(what));
        checked
    }

    fn entry(&mut self, place: &str, key: &[u8], found: Result<(), String>) {
        self.entries += 1;
        if let Err(what) = found {
            let key: String = key.iter().take(40).map(|byte| format!("{byte:02x}")).collect();
            self.damage(format!("{place}, entry {key}: {what}"));
        }
    }

    /// Counts it as damage where a keyspace could not be looked at to its end.
    fn unless(&mut self, place: &str, looked: Result<(), StoreError>) {
        if let Err(error) = looked {
            self.damage(format!("{place}, and what follows was not looked at: {error}"));
        }
    }

    fn damage(&mut self, what: String) {
        self.damaged += 1;
        if self.damages.len() < NAMED {
            self.damages.push(what);
        }
    }

    /// Looks at all entries of a keyspace; at a block that cannot be read the rest of it is left.
    fn keyspace(&mut self, place: &str, keyspace: &Keyspace, mut look: impl FnMut(&[u8], &[u8]) -> Result<(), String>) {
        for entry in keyspace.iter() {
            match entry.into_inner() {
                Ok((key, value)) => self.entry(place, &key, look(&key, &value)),
                Err(error) => {
                    return self.damage(format!("{place}: a block cannot be read, and what follows it was not looked at: {error}"));
                }
            }
        }
    }
}

/// Looks at every entry.
///
/// # Errors
/// Where the store could not be looked at; damage is no error, but in [`Checked`].
pub(super) fn check(store: &EmbeddedStore) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    let keyspaces = &store.keyspaces;
    checked.keyspace("meta", &keyspaces.meta, |_, _| Ok(()));
    if let Err(error) = keyspaces.totals() {
        checked.damage(format!("meta: {error}"));
    }
    checked.keyspace("dirty", &keyspaces.dirty, |key, value| {
        DirtyKey::decode(key).map_err(said("the marker cannot be read"))?;
        if value.len() == 8 { Ok(()) } else { Err("the marker's batch cannot be read".into()) }
    });
    for (slot, keyspace) in &*keyspaces.slots() {
        let place = slot.keyspace();
        match slot.kind {
            Kind::Words => {
                let looked = words(&mut checked, &place, keyspace);
                checked.unless(&place, looked);
            }
            Kind::Batches => checked.keyspace(&place, keyspace, |_, value| if value.len() == 8 { Ok(()) } else { Err("no start".into()) }),
            Kind::Raw | Kind::Minute | Kind::Hour => {
                let words = keyspaces.slots().get(&Slot::of(Kind::Words, slot.window().from)).map(Words::new);
                match words {
                    Some(words) => {
                        let looked = Bounds::of(&words).and_then(|bounds| rows(&mut checked, &place, keyspace, &bounds));
                        checked.unless(&place, looked);
                    }
                    None if keyspace.is_empty().unwrap_or(false) => {}
                    None => checked.damage(format!("{place}: its dictionaries are not there")),
                }
            }
        }
    }
    Ok(checked)
}

fn said(what: &'static str) -> impl Fn(Damaged) -> String {
    move |_| what.to_owned()
}

/// How many numbers each dictionary has given: those below are there, since [`words`] finds no holes.
struct Bounds {
    words: Words,
    services: u32,
    types: u32,
    series: u32,
    hosts: u32,
}

impl Bounds {
    fn of(words: &Words) -> Result<Self, StoreError> {
        let next = |dictionary: &Dictionary| dictionary.next(&[]);
        let (services, types) = (next(&words.services)?, next(&words.types)?);
        Ok(Self { services, types, series: next(&words.series)?, hosts: next(&words.hosts)?, words: words.clone() })
    }
}

fn within(number: u32, bound: u32, what: &str) -> Result<(), String> {
    if number < bound { Ok(()) } else { Err(format!("{what} {number} is not in the dictionary")) }
}

/// Rows and ledgers.
fn rows(checked: &mut Checked, place: &str, keyspace: &Keyspace, bounds: &Bounds) -> Result<(), StoreError> {
    let mut stacks: HashMap<u32, u32> = HashMap::new();
    for service in 0..bounds.services {
        stacks.insert(service, bounds.words.stacks.next(&service.to_be_bytes())?);
    }
    let raw = place.starts_with("raw");
    checked.keyspace(place, keyspace, |key, value| match key.first() {
        Some(first) if *first == Table::Ledgers as u8 && raw => {
            RawLedger::decode(value).map(drop).map_err(said("the ledger cannot be read"))
        }
        Some(first) if *first == Table::Ledgers as u8 => {
            let mut greatest = None;
            decode_bucket(value, |number, _| greatest = greatest.max(Some(number))).map_err(said("the ledgers cannot be read"))?;
            greatest.map_or(Ok(()), |greatest| within(greatest, bounds.series, "series"))
        }
        _ => {
            let key = RowKey::decode(key).map_err(said("the row's key cannot be read"))?;
            within(key.service, bounds.services, "service")?;
            within(key.sample_type, bounds.types, "type")?;
            within(key.series, bounds.series, "series")?;
            let mut reader = Reader::new(value);
            let header = row::decode_header(&mut reader).map_err(said("the row cannot be read"))?;
            header.hosts.iter().try_for_each(|host| within(*host, bounds.hosts, "host"))?;
            let mut greatest = None;
            row::decode_stacks(&mut reader, |stack, _| greatest = greatest.max(Some(stack))).map_err(said("the row cannot be read"))?;
            let bound = stacks.get(&key.service).copied().unwrap_or(0);
            greatest.map_or(Ok(()), |greatest| within(greatest, bound, "stack"))
        }
    });
    Ok(())
}

/// Dictionaries: each number has a content that can be read, and each content has its number. Numbers follow each other.
fn words(checked: &mut Checked, place: &str, keyspace: &Keyspace) -> Result<(), StoreError> {
    let words = Words::new(keyspace);
    let locations = words.locations.next(&[])?;
    let objects = words.objects.next(&[])?;
    let texts = words.texts.next(&[])?;
    let location = |bytes: &[u8]| {
        let record = LocationRecord::decode(bytes).map_err(said("the location cannot be read"))?;
        record.object.map_or(Ok(()), |object| within(object, objects, "object"))?;
        let named = |(function, file, _): &(u32, u32, u32)| within(*function, texts, "text").and_then(|()| within(*file, texts, "text"));
        record.lines.iter().try_for_each(named)
    };
    let object = |bytes: &[u8]| {
        let record = ObjectRecord::decode(bytes).map_err(said("the object cannot be read"))?;
        within(record.path, texts, "text")
    };
    let stack = |bytes: &[u8]| {
        let mut numbers = Vec::new();
        decode_stack(bytes, &mut numbers).map_err(said("the stack cannot be read"))?;
        numbers.into_iter().try_for_each(|number| within(number, locations, "location"))
    };
    let labels = |bytes: &[u8]| read_labels(&mut Reader::new(bytes)).map(drop).map_err(said("the labels cannot be read"));
    let text = |bytes: &[u8]| Reader::new(bytes).text().map(drop).map_err(said("the text cannot be read"));
    let sample_type = |bytes: &[u8]| decode_type(bytes).map(drop).map_err(said("the type cannot be read"));
    let services = words.services.next(&[])?;
    dictionary(checked, place, &words.texts, &[], text);
    dictionary(checked, place, &words.objects, &[], object);
    dictionary(checked, place, &words.locations, &[], location);
    for service in 0..services {
        dictionary(checked, place, &words.stacks, &service.to_be_bytes(), stack);
    }
    dictionary(checked, place, &words.services, &[], text);
    dictionary(checked, place, &words.types, &[], sample_type);
    dictionary(checked, place, &words.series, &[], labels);
    dictionary(checked, place, &words.hosts, &[], text);
    Ok(())
}

fn dictionary(checked: &mut Checked, place: &str, dictionary: &Dictionary, prefix: &[u8], look: impl Fn(&[u8]) -> Result<(), String>) {
    let place = format!("{place}, {dictionary:?}");
    for (expected, entry) in (0_u32..).zip(dictionary.entries(prefix)) {
        let (number, content) = match entry {
            Ok(entry) => entry,
            Err(error) => return checked.damage(format!("{place}: {error}")),
        };
        let found = match dictionary.number(prefix, &content) {
            _ if number != expected => Err(format!("it should be number {expected}")),
            Ok(Some(back)) if back == number => look(&content),
            Ok(other) => Err(format!("its content has the number {other:?}")),
            Err(error) => Err(error.to_string()),
        };
        let holed = number != expected;
        checked.entry(&place, &number.to_be_bytes(), found);
        if holed {
            return;
        }
    }
}
