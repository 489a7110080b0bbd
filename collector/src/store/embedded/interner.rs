//! A dictionary on disk: content to number and back.

use fjall::{Keyspace, OwnedWriteBatch};

use super::cache::Cache;
use super::engine;
use crate::store::StoreError;

/// The longest key of the engine, which asserts it.
const MAX_KEY: usize = 65_535;

/// Contents and their numbers, in a keyspace that several dictionaries share: each has a lower-case *tag*, under which it keeps
/// the contents by number; under the upper-case one it keeps the numbers by content. A *prefix* divides it: numbers are
/// counted within each (stacks within their service).
///
/// Content is a key of its own, so that equality is equality of bytes and never of a hash.
#[derive(Clone)]
pub(super) struct Dictionary {
    keyspace: Keyspace,
    tag: Option<u8>,
    name: &'static str,
}

impl std::fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Dictionary {
    pub(super) const fn new(keyspace: Keyspace, tag: u8, name: &'static str) -> Self {
        Self { keyspace, tag: Some(tag), name }
    }

    /// The contents by number of a dictionary of layout 1, which had a keyspace of its own. Only for reading.
    pub(super) const fn untagged(keyspace: Keyspace, name: &'static str) -> Self {
        Self { keyspace, tag: None, name }
    }

    fn number_key(&self, prefix: &[u8], number: u32) -> Vec<u8> {
        [self.tag.as_slice(), prefix, &number.to_be_bytes()].concat()
    }

    fn content_key(&self, prefix: &[u8], content: &[u8]) -> Vec<u8> {
        let tag = self.tag.map(|tag| tag.to_ascii_uppercase());
        [tag.as_slice(), prefix, content].concat()
    }

    /// The content of a number.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where there is none: what is stored refers only to what was stored with it.
    pub(super) fn content(&self, prefix: &[u8], number: u32) -> Result<fjall::Slice, StoreError> {
        let found = self.keyspace.get(self.number_key(prefix, number)).map_err(engine("read a dictionary"))?;
        found.ok_or_else(|| self.corrupt(number))
    }

    /// The number of a content, if it has one.
    pub(super) fn number(&self, prefix: &[u8], content: &[u8]) -> Result<Option<u32>, StoreError> {
        let key = self.content_key(prefix, content);
        if key.len() > MAX_KEY {
            return Ok(None);
        }
        self.number_of(&key)
    }

    fn number_of(&self, key: &[u8]) -> Result<Option<u32>, StoreError> {
        let found = self.keyspace.get(key).map_err(engine("read a dictionary"))?;
        let number = found.map(|bytes| (*bytes).try_into().map(u32::from_be_bytes));
        number.transpose().map_err(|_| self.corrupt(0))
    }

    /// All entries of a prefix in the order of their numbers.
    pub(super) fn entries(&self, prefix: &[u8]) -> impl Iterator<Item = Result<(u32, fjall::Slice), StoreError>> {
        self.keyspace.prefix([self.tag.as_slice(), prefix].concat()).map(move |entry| {
            let (key, content) = entry.into_inner().map_err(engine("read a dictionary"))?;
            Ok((last_number(&key).ok_or_else(|| self.corrupt(0))?, content))
        })
    }

    /// Whether it has no entry at all.
    fn is_empty(&self) -> Result<bool, StoreError> {
        let first = self.keyspace.prefix(self.tag.as_slice()).next();
        first.map_or(Ok(true), |entry| entry.key().map(|_| false)).map_err(engine("read a dictionary"))
    }

    /// One more than the greatest number that was given.
    pub(super) fn next(&self, prefix: &[u8]) -> Result<u32, StoreError> {
        let Some(last) = self.keyspace.prefix([self.tag.as_slice(), prefix].concat()).next_back() else { return Ok(0) };
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
///
/// What was used lately is in memory, in two generations: a full young one becomes the old one, whose entries return to the young
/// one when they are used. So a working set of up to two generations is never read from the disk, and a larger one is not lost as a whole.
/// As long as all entries that a dictionary has are in memory, what is not there is new, and not looked for on disk.
#[derive(Debug)]
pub(super) struct Interner {
    dictionary: Dictionary,
    /// Whether the dictionary had no entry when this began, so that all it has were added by this.
    began_empty: bool,
    /// Whether a generation was given up.
    forgot: bool,
    young: Cache,
    old: Cache,
    /// The next number within each prefix.
    next: Cache,
    /// The key at hand, kept for its memory.
    key: Vec<u8>,
}

impl Interner {
    pub(super) fn new(dictionary: Dictionary) -> Result<Self, StoreError> {
        let (young, old, next) = (Cache::default(), Cache::default(), Cache::default());
        let began_empty = dictionary.is_empty()?;
        Ok(Self { dictionary, began_empty, forgot: false, young, old, next, key: Vec::new() })
    }

    /// The number of a content; a new one is added to `batch`.
    pub(super) fn intern(&mut self, batch: &mut OwnedWriteBatch, prefix: &[u8], content: &[u8]) -> Result<u32, StoreError> {
        self.intern_with(batch, prefix, |key| key.extend_from_slice(content))
    }

    /// The number of a content that `write` appends to what it is given.
    pub(super) fn intern_with(
        &mut self,
        batch: &mut OwnedWriteBatch,
        prefix: &[u8],
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<u32, StoreError> {
        self.with_key(prefix, write, |interner, content, key| interner.find_or_add(batch, prefix, content, key))
    }

    /// The same for a content that the caller does not remember, not kept in memory: the caller does that, at least until the batch is
    /// written. `forgot` says whether it has forgotten any that came before.
    pub(super) fn intern_uncached(
        &mut self,
        batch: &mut OwnedWriteBatch,
        prefix: &[u8],
        forgot: bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<u32, StoreError> {
        let is_new = self.began_empty && !forgot;
        self.with_key(prefix, write, |interner, content, key| interner.read_or_add(batch, prefix, is_new, (content, key)))
    }

    /// Hands out the key of a content, and where in it the content begins.
    fn with_key(
        &mut self,
        prefix: &[u8],
        write: impl FnOnce(&mut Vec<u8>),
        use_key: impl FnOnce(&mut Self, usize, &[u8]) -> Result<u32, StoreError>,
    ) -> Result<u32, StoreError> {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.extend(self.dictionary.tag.map(|tag| tag.to_ascii_uppercase()));
        key.extend_from_slice(prefix);
        let content = key.len();
        write(&mut key);
        let number = use_key(self, content, &key);
        self.key = key;
        number
    }

    fn find_or_add(&mut self, batch: &mut OwnedWriteBatch, prefix: &[u8], content: usize, key: &[u8]) -> Result<u32, StoreError> {
        if let Some(number) = self.young.get(key) {
            return Ok(number);
        }
        let number = match self.old.remove(key) {
            Some(number) => number,
            None => self.read_or_add(batch, prefix, self.began_empty && !self.forgot, (content, key))?,
        };
        self.young.insert(key, number);
        Ok(number)
    }

    /// The number of a key, in which the content begins there; it is not looked for where it is known to be new.
    fn read_or_add(
        &mut self,
        batch: &mut OwnedWriteBatch,
        prefix: &[u8],
        is_new: bool,
        (content, key): (usize, &[u8]),
    ) -> Result<u32, StoreError> {
        if key.len() > MAX_KEY {
            return Err(StoreError::TooLong { what: self.dictionary.name, bytes: key.len(), limit: MAX_KEY });
        }
        let known = if is_new { None } else { self.dictionary.number_of(key)? };
        match known {
            Some(number) => Ok(number),
            None => self.add(batch, prefix, &key[content..], key),
        }
    }

    fn add(&mut self, batch: &mut OwnedWriteBatch, prefix: &[u8], content: &[u8], key: &[u8]) -> Result<u32, StoreError> {
        let number = match self.next.get(prefix) {
            Some(next) => next,
            None => self.dictionary.next(prefix)?,
        };
        let next = number.checked_add(1).ok_or_else(|| self.dictionary.corrupt(number))?;
        self.next.insert(prefix, next);
        batch.insert(&self.dictionary.keyspace, self.dictionary.number_key(prefix, number), content);
        batch.insert(&self.dictionary.keyspace, key, number.to_be_bytes());
        Ok(number)
    }

    /// Keeps each generation below so many bytes. Only between batches: the young one holds what the open batch has added.
    pub(super) fn trim(&mut self, generation_bytes: usize) {
        if self.young.bytes() > generation_bytes {
            self.forgot |= self.old.bytes() > 0;
            self.old = std::mem::take(&mut self.young);
        }
    }
}
