//! The store in ClickHouse: for fleets that one machine cannot hold. Collectors keep no state then, and there may be many.
//!
//! # Invariants
//!
//! 1. **The row that makes a batch count is the last.** A batch becomes rows of four tables, inserted in this order: entries of the
//!    dictionaries of series and of stacks, samples, and one row of `batches`: its identity, ledger and totals. A batch
//!    whose identity is in `batches` is a duplicate; only after that row a batch is acknowledged.
//! 2. **A retry at any point is right.** What an attempt left that ended before the last row:
//!    - *Entries of dictionaries*: they are named by the hash of their content and replace each other, so they may be inserted any number
//!      of times, and entries that nothing refers to change no answer.
//!    - *Samples*: an insert of one batch is one block, atomic, under a token made of the identity; the table and the tables that
//!      its views fill remember it, so the retry is dropped where the first one is (and a view that the first one had not reached is
//!      filled then). Tables remember 100,000 tokens each: enough for at least the ten minutes of [`append::TOKENS_HOLD`] at 160 batches
//!      a second and shard. A batch whose window ended longer ago may have been tried longer ago, so its rows are looked for by
//!      what they hold before they are inserted.
//!    - *The last row*: the same token. Two collectors that store one identity at once both insert it, and it is there once.
//!
//!    What is not covered: a server that dies while it commits one insert to the table and its views, and an agent that is
//!    away for the next ten minutes. Then a derived tier can lack that batch. And until the retry, samples of a batch that does
//!    not count yet are in answers, their ledger is not.
//! 3. **Acknowledged means durable.** On one server an insert is synced to disk before it is answered; on a cluster a majority of the
//!    shard's replicas have it.
//! 4. **Each row in a window counts once**, whatever tier it is read from ([`plan`]). The tiers are filled by materialized views
//!    in the insert of the rows. There is no snapshot over several tables: a batch that comes during a question may be in one
//!    part of its answer and not in another.
//! 5. **Deleting is the server's**, by a TTL per table, a day or a week after the floors of the configured ages have risen above
//!    what is deleted. A schema that keeps less than the configuration is refused.
//! 6. **A question that nobody waits for ends**, at the server too: the connection is closed.
//! 7. **Values are parameters.** No text that came from outside stands in a query; see [`plan`].
//!
//! Sums are 64 bits wide and wrap at the server, where the embedded store's stay at their greatest.
//!
//! # Tables (version 1)
//!
//! | table | a row is | from |
//! |---|---|---|
//! | `samples` | value of a stack, series and window | inserted |
//! | `minutes`, `hours` | value of a stack, service, version, type and minute or hour | view of `samples` |
//! | `hour_series` | value of a stack, series and hour | view of `samples` |
//! | `minute_hosts`, `hour_hosts` | a host that has samples of a service, version and profile type | view of `samples` |
//! | `batches` | identity, ledger, figures of a batch | inserted |
//! | `ledgers`, `ledger_minutes`, `ledger_hours` | ledger of an agent's window, minute, hour | view of `batches` |
//! | `totals` | sums over all batches | view of `batches` |
//! | `series`, `stacks` | labels or content of what rows refer to, in a week | inserted |
//! | `versions` | a migration: version of the schema, ages that are kept | [`migrate()`] |

mod answers;
mod append;
mod client;
mod content;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub(super) mod fuzz;
mod hosts;
mod migrate;
mod plan;
mod rowbinary;
mod schema;

use std::sync::{Mutex, PoisonError};

use flamekeeper_profile::{Batch, Timestamp, Window};
use flamekeeper_wire::BatchId;

use self::append::{Known, UnderWay};
use self::client::{Client, Query};
use self::error::damaged;
use self::migrate::Ages;
use self::rowbinary::Reader;
use super::embedded::tier::{Floors, Kind, Slot};
use super::{
    Appended, Deleted, HostSummary, MergedProfile, Retention, Selection, SeriesSummary, Store, StoreError, StoreLimits, StoreStatus,
    TimeSeries,
};
use crate::selector::Selector;

pub use client::ClickHouseServer;
pub use error::ClickHouseError;
pub use migrate::{Migrated, migrate};

/// The store in ClickHouse.
pub struct ClickHouseStore {
    client: Client,
    retention: Retention,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    floors: Mutex<Floors>,
    known: Known,
    under_way: UnderWay,
    merged_stacks: usize,
}

impl std::fmt::Debug for ClickHouseStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClickHouseStore").field("client", &self.client).field("retention", &self.retention).finish_non_exhaustive()
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
struct Question<'a> {
    window: Window,
    selector: &'a Selector,
    /// None for all.
    profile: Option<&'a str>,
    /// Whether rows merged per service and version can answer it.
    merged: bool,
    /// Steps that a bucket must lie in, from the window's start.
    step: Option<u64>,
}

impl ClickHouseStore {
    /// Connects, and checks the schema. Of the limits, that of merged stacks holds. The clock says until when rows are kept.
    ///
    /// # Errors
    /// [`StoreError::Schema`] where the schema is missing, older, or keeps less than `retention`; [`StoreError::Engine`] where the
    /// server cannot be asked.
    pub fn connect(
        server: &ClickHouseServer,
        retention: Retention,
        limits: StoreLimits,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let client = Client::new(server).map_err(|error| error.while_doing("connect"))?;
        match migrate::read(&client)? {
            Some((schema::VERSION, ages)) if ages.hold(&Ages::of(&retention)) => {}
            Some((schema::VERSION, _)) => return Err(StoreError::ShortRetention),
            found => return Err(StoreError::Schema { found: found.map(|(version, _)| version), expected: schema::VERSION }),
        }
        Ok(Self {
            client,
            retention,
            clock: Box::new(clock),
            floors: Mutex::default(),
            known: Known::default(),
            under_way: UnderWay::default(),
            merged_stacks: limits.merged_stacks,
        })
    }

    /// From when on the tiers are read. They rise with the clock, by slots, and never fall.
    fn floors(&self) -> Floors {
        let now = (self.clock)();
        let of = |kind: Kind, age: u64| Slot::of(kind, now.saturating_sub(age)).window().from;
        let Retention { raw, minute, hour, .. } = self.retention;
        let mut floors = self.floors.lock().unwrap_or_else(PoisonError::into_inner);
        floors.raise(&Floors { raw: of(Kind::Raw, raw), minute: of(Kind::Minute, minute), hour: of(Kind::Hour, hour) });
        *floors
    }

    /// Bytes that the database takes on the server that is asked.
    fn bytes(&self) -> Result<u64, StoreError> {
        let text = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = {database:String} FORMAT RowBinary";
        let answer = self.ask(&Query::new(text).with("database", self.client.database()), "measure its size")?;
        Reader::new(&answer).u64().map_err(damaged("its size"))
    }
}

impl Store for ClickHouseStore {
    fn append(&self, id: &BatchId, batch: Batch) -> Result<Appended, StoreError> {
        self.store(id, &batch)
    }

    fn merged(&self, selection: &Selection) -> Result<MergedProfile, StoreError> {
        self.merge(selection)
    }

    fn time_series(&self, selection: &Selection, by: &str, step: u64) -> Result<TimeSeries, StoreError> {
        self.steps(selection, by, step)
    }

    fn series(&self, window: Window) -> Result<Vec<SeriesSummary>, StoreError> {
        self.catalog(window)
    }

    fn hosts(&self, window: Window) -> Result<Vec<HostSummary>, StoreError> {
        self.reported(window)
    }

    fn status(&self) -> Result<StoreStatus, StoreError> {
        let text = "SELECT sum(batches), sum(samples), sumMap(counts) FROM totals FORMAT RowBinary";
        let answer = self.ask(&Query::new(text), "read its totals")?;
        let mut reader = Reader::new(&answer);
        let mut read = || Ok((reader.u64()?, reader.u64()?, hosts::read_ledger(&mut reader)?));
        let (batches, samples_stored, ledger) = read().map_err(damaged("its totals"))?;
        let floors = self.floors();
        Ok(StoreStatus {
            batches,
            ledger,
            samples_stored,
            bytes: self.bytes()?,
            writable: true,
            raw_from: floors.raw,
            minute_from: floors.minute,
            hour_from: floors.hour,
            lacking: 0,
            deleted: Deleted::default(),
            refused_full: 0,
        })
    }
}
