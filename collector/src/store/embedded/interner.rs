//! A dictionary on disk: content to number and back.

use std::collections::HashMap;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch};

use super::engine;
use crate::store::StoreError;

/// Bytes of the cache, overhead included, beyond which it is emptied.
const CACHE_LIMIT: usize = 64 << 20;
/// What an entry of the cache takes beside its content.
const CACHE_OVERHEAD: usize = 48;
/// The longest key of the engine, which asserts it.
const MAX_KEY: usize = 65_535;

/// The two halves of a dictionary. A *prefix* divides it: numbers are counted within each (stacks within their service).
///
/// Content is a key of its own, so that equality is equality of bytes and never of a hash.
#[derive(Clone)]
pub(super) struct Dictionary {
    content_of: Keyspace,
    number_of: Keyspace,
    name: &'static str,
}

impl std::fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Dictionary {
    pub(super) fn open(database: &Database, name: &'static str) -> Result<Self, StoreError> {
        let keyspace = |suffix: &str| {
            let options = KeyspaceCreateOptions::default;
            database.keyspace(&format!("{name}_{suffix}"), options).map_err(engine("open a dictionary"))
        };
        Ok(Self { content_of: keyspace("content")?, number_of: keyspace("number")?, name })
    }

    /// The content of a number.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where there is none: what is stored refers only to what was stored with it.
    pub(super) fn content(&self, prefix: &[u8], number: u32) -> Result<fjall::Slice, StoreError> {
        let key = [prefix, &number.to_be_bytes()].concat();
        let found = self.content_of.get(key).map_err(engine("read a dictionary"))?;
        found.ok_or_else(|| self.corrupt(number))
    }

    /// The number of a content, if it has one.
    pub(super) fn number(&self, prefix: &[u8], content: &[u8]) -> Result<Option<u32>, StoreError> {
        if prefix.len() + content.len() > MAX_KEY {
            return Ok(None);
        }
        let found = self.number_of.get([prefix, content].concat()).map_err(engine("read a dictionary"))?;
        let number = found.map(|bytes| (*bytes).try_into().map(u32::from_be_bytes));
        number.transpose().map_err(|_| self.corrupt(0))
    }

    /// All entries of a prefix in the order of their numbers.
    pub(super) fn entries(&self, prefix: &[u8]) -> impl Iterator<Item = Result<(u32, fjall::Slice), StoreError>> {
        self.content_of.prefix(prefix).map(move |entry| {
            let (key, content) = entry.into_inner().map_err(engine("read a dictionary"))?;
            Ok((last_number(&key).ok_or_else(|| self.corrupt(0))?, content))
        })
    }

    fn next(&self, prefix: &[u8]) -> Result<u32, StoreError> {
        let Some(last) = self.content_of.prefix(prefix).next_back() else { return Ok(0) };
        let key = last.key().map_err(engine("read a dictionary"))?;
        let next = last_number(&key).and_then(|last| last.checked_add(1));
        next.ok_or_else(|| self.corrupt(u32::MAX))
    }

    pub(super) fn corrupt(&self, number: u32) -> StoreError {
        StoreError::Corrupt { what: format!("{} {number}", self.name) }
    }
}

fn last_number(key: &[u8]) -> Option<u32> {
    key.last_chunk().copied().map(u32::from_be_bytes)
}

/// Gives numbers to contents. There is one writer, so that a number is given once.
#[derive(Debug)]
pub(super) struct Interner {
    dictionary: Dictionary,
    cache: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    cached_bytes: usize,
    next: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
}

impl Interner {
    pub(super) fn new(dictionary: Dictionary) -> Self {
        Self { dictionary, cache: HashMap::default(), cached_bytes: 0, next: HashMap::default() }
    }

    /// The number of a content; a new one is added to `batch`.
    pub(super) fn intern(&mut self, batch: &mut OwnedWriteBatch, prefix: &[u8], content: &[u8]) -> Result<u32, StoreError> {
        let key = [prefix, content].concat();
        if key.len() > MAX_KEY {
            return Err(StoreError::TooLong { what: self.dictionary.name, bytes: key.len(), limit: MAX_KEY });
        }
        if let Some(number) = self.cache.get(&*key) {
            return Ok(*number);
        }
        let number = match self.dictionary.number(prefix, content)? {
            Some(number) => number,
            None => self.add(batch, prefix, content, &key)?,
        };
        self.cached_bytes += key.len() + CACHE_OVERHEAD;
        self.cache.insert(key.into(), number);
        Ok(number)
    }

    fn add(&mut self, batch: &mut OwnedWriteBatch, prefix: &[u8], content: &[u8], key: &[u8]) -> Result<u32, StoreError> {
        let number = match self.next.get(prefix) {
            Some(next) => *next,
            None => self.dictionary.next(prefix)?,
        };
        let next = number.checked_add(1).ok_or_else(|| self.dictionary.corrupt(number))?;
        self.next.insert(prefix.into(), next);
        batch.insert(&self.dictionary.content_of, [prefix, &number.to_be_bytes()].concat(), content);
        batch.insert(&self.dictionary.number_of, key, number.to_be_bytes());
        Ok(number)
    }

    /// Keeps the cache bounded. Only between batches: it holds what the open batch has added.
    pub(super) fn trim(&mut self) {
        if self.cached_bytes > CACHE_LIMIT {
            self.cache.clear();
            self.cached_bytes = 0;
        }
    }

    /// Forgets all, after a batch that was not committed.
    pub(super) fn reset(&mut self) {
        self.cache.clear();
        self.cached_bytes = 0;
        self.next.clear();
    }
}
