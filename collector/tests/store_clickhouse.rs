//! The store in ClickHouse: what every store must hold, and what only this one can fail at. The engine is ClickHouse's own, embedded
//! behind a small HTTP front (`testing/clickhouse/front.py`).

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod clickhouse_front;
#[path = "clickhouse_front/server.rs"]
mod clickhouse_server;
mod store_fixture;
mod store_suite;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clickhouse_front::Front;
use clickhouse_server::server;
use flamekeeper_collector::store::{
    Appended, ClickHouseServer, ClickHouseStore, Retained, Retention, Store, StoreError, StoreLimits, migrate,
};
use flamekeeper_collector::watch::{Stopped, Watch};
use flamekeeper_profile::{Timestamp, Window};
use store_fixture::{Random, SECOND, START, batch_at, id};
use store_suite::tiers::{DAY, HOUR, MINUTE, Model};
use store_suite::{ALL, Subject, hour, leaks, requests, tiers};

/// A database of its own in the engine that all tests of this program share.
struct ClickHouse {
    server: ClickHouseServer,
    store: ClickHouseStore,
    limits: StoreLimits,
    retention: Retention,
    now: Arc<AtomicU64>,
}

impl ClickHouse {
    fn connect(&self) -> ClickHouseStore {
        connect(&self.server, self.limits, self.retention, &self.now)
    }
}

fn connect(server: &ClickHouseServer, limits: StoreLimits, retention: Retention, now: &Arc<AtomicU64>) -> ClickHouseStore {
    let now = Arc::clone(now);
    ClickHouseStore::connect(server, retention, limits, move || Timestamp(now.load(Ordering::Relaxed))).unwrap()
}

/// The same with the tables of a cluster: what is asked and written is `Distributed`.
struct Cluster(ClickHouse);

/// The cluster that the front knows.
const ONE: &str = "one";

impl ClickHouse {
    fn start_on(cluster: Option<&str>, limits: StoreLimits, retention: Retention) -> Self {
        let server = server(Front::shared());
        // The server's clock is not the test's: it is to delete nothing by itself.
        assert!(migrate(&server, cluster, &ALL).unwrap().changed);
        let now = Arc::new(AtomicU64::new(START));
        let store = connect(&server, limits, retention, &now);
        Self { server, store, limits, retention, now }
    }
}

impl Subject for Cluster {
    const SEEDS: u64 = 1;
    const QUESTIONS: u64 = 1;

    fn start(limits: StoreLimits, retention: Retention) -> Self {
        Self(ClickHouse::start_on(Some(ONE), limits, retention))
    }

    fn store(&self) -> &dyn Store {
        self.0.store()
    }

    fn reopen(&mut self) {
        self.0.reopen();
    }

    fn roll_up(&self, now: Timestamp) {
        self.0.roll_up(now);
    }

    fn retain(&self, now: Timestamp) -> Retained {
        self.0.retain(now)
    }
}

impl Subject for ClickHouse {
    const SEEDS: u64 = 1;
    const QUESTIONS: u64 = 3;

    fn start(limits: StoreLimits, retention: Retention) -> Self {
        Self::start_on(None, limits, retention)
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn reopen(&mut self) {
        self.store = self.connect();
    }

    fn roll_up(&self, _now: Timestamp) {}

    fn retain(&self, now: Timestamp) -> Retained {
        self.now.store(now.0, Ordering::Relaxed);
        let status = self.store.status().unwrap();
        Retained { raw_from: status.raw_from, minute_from: status.minute_from, hour_from: status.hour_from, ..Retained::default() }
    }
}

/// Whatever is stored, repeated and reopened, every answer equals that of brute force over what was accepted.
#[test]
fn answers_equal_brute_force() {
    hour::answers_equal_brute_force::<ClickHouse>();
}

/// The same of the tables of a cluster: all of them are distributed, over one shard here.
#[test]
fn a_cluster_equals_brute_force() {
    hour::answers_equal_brute_force::<Cluster>();
    let subject = Cluster::start(StoreLimits::default(), ALL);
    let text = format!(
        "SELECT countIf(engine = 'Distributed'), uniqExact(name) FROM system.tables WHERE database = '{}' AND \
        name IN ('samples', 'minutes', 'hours', 'hour_series', 'batches', 'ledgers', 'series', 'stacks')",
        subject.0.server.database
    );
    assert_eq!(Front::shared().run(&text).trim(), "8\t8");
}

/// Many writers at once: each batch is there once, and what one of them was told holds for all.
#[test]
fn concurrent_writers() {
    hour::concurrent_writers::<ClickHouse>();
}

/// A selection that names a host answers with that host's losses, even where nothing else of it is left.
#[test]
fn losses_without_samples() {
    hour::losses_without_samples::<ClickHouse>();
}

/// Questions beyond the limits are refused by name.
#[test]
fn limits_on_answers() {
    hour::limits_on_answers::<ClickHouse>();
}

/// Over three weeks of a clock that goes on, batches come in time, late, twice and too late: whatever is asked, the answer is that of
/// brute force, and each batch counts once.
#[test]
fn weeks_equal_brute_force() {
    tiers::answers_equal_brute_force::<ClickHouse>();
}

/// A leak is found among what is none, per version, and the verdict is the same from the tier of minutes.
#[test]
fn leaks_are_found_in_all_tiers() {
    leaks::leaks_in_all_tiers::<ClickHouse>();
}

/// Requests that were posted are counted once, and answered the same from every tier.
#[test]
fn requests_are_counted_in_all_tiers() {
    requests::requests_in_all_tiers::<ClickHouse>();
}

/// The connection is lost before or after any request of a batch, and the batch is sent again, by this collector or another: it
/// counts once, in every tier. The same where the tables have forgotten the tokens, for batches that are late.
#[test]
fn retries_at_any_point() {
    let one_server = [(None, false, "before"), (None, false, "after"), (None, true, "before"), (None, true, "after")];
    for (cluster, forgotten, mode) in one_server.into_iter().chain([(Some(ONE), false, "after")]) {
        let mut subject = ClickHouse::start_on(cluster, StoreLimits::default(), ALL);
        let (front, database) = (Front::shared(), subject.server.database.clone());
        if forgotten {
            subject.now.store(START + DAY, Ordering::Relaxed);
        }
        let mut model = Model { batches: Vec::new(), kept: Retained::default(), seed: 0, questions: 6 };
        let mut random = Random::new(7);
        let mut lost = 0;
        for number in 0..12 {
            // Of one host in one hour, so that batches meet in all tiers.
            let made = batch_at(&mut random, Timestamp(START + number * 10 * SECOND));
            front.fault(&database, Some((number, mode)));
            let first = subject.store.append(&id("a", number), made.clone());
            front.fault(&database, None);
            lost += u64::from(first.is_err());
            if forgotten {
                front.run(&format!("ALTER TABLE {database}.samples MODIFY SETTING non_replicated_deduplication_window = 0"));
                front.run(&format!("ALTER TABLE {database}.samples MODIFY SETTING non_replicated_deduplication_window = 100"));
            }
            if number % 2 == 0 {
                subject.reopen();
            }
            let second = subject.store.append(&id("a", number), made.clone()).unwrap();
            assert!(first.is_err() || second == Appended::Duplicate, "{first:?}, {second:?}");
            model.batches.push(made);
            assert_eq!(subject.store.append(&id("a", number), model.batches[number as usize].clone()).unwrap(), Appended::Duplicate);
        }
        assert!(lost >= 3, "only {lost} connections were lost within a batch");
        model.compare(&subject.store, &mut random, Timestamp(START + HOUR));
        assert_eq!(subject.store.status().unwrap().batches, 12);
    }
}

/// The server deletes by itself what is too old: rows of four days ago are gone after three, their minutes and hours are not, and
/// what is asked is the same before and after.
#[test]
fn old_rows_go() {
    let server = server(Front::shared());
    let retention = Retention { raw: 3 * DAY, minute: 30 * DAY, hour: 365 * DAY, bytes: u64::MAX };
    migrate(&server, None, &retention).unwrap();
    let now = Timestamp(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
    let clock = Arc::new(AtomicU64::new(now.0));
    let store = connect(&server, StoreLimits::default(), retention, &clock);
    let status = store.status().unwrap();
    let kept = Retained { raw_from: status.raw_from, minute_from: status.minute_from, hour_from: status.hour_from, ..Retained::default() };
    let mut model = Model { batches: Vec::new(), kept, seed: 0, questions: 6 };
    let mut random = Random::new(11);
    for number in 0..20 {
        let ago = if number % 2 == 0 { 6 * DAY } else { HOUR };
        let made = batch_at(&mut random, now.saturating_sub(ago).saturating_add(number * MINUTE));
        assert_eq!(store.append(&id("a", number), made.clone()).unwrap(), Appended::Accepted);
        model.batches.push(made);
    }
    let front = Front::shared();
    let count = |table: &str, ago: u64| -> u64 {
        let text = format!("SELECT count() FROM {}.{table} WHERE at < {}", server.database, now.0 - ago);
        front.run(&text).trim().parse().unwrap()
    };
    model.compare(&store, &mut random, now);
    for table in ["samples", "minutes", "hours", "ledgers", "batches"] {
        front.run(&format!("OPTIMIZE TABLE {}.{table} FINAL", server.database));
    }
    assert_eq!((count("samples", DAY), count("ledgers", DAY), count("batches", DAY)), (0, 0, 0));
    assert!(count("samples", 0) > 0 && count("minutes", DAY) > 0 && count("hours", DAY) > 0);
    model.compare(&store, &mut random, now);
}

/// A schema that is missing, keeps too little, or is of a later version is told with the command that mends it; migrating twice
/// changes nothing, and a migration that was cut off is finished.
#[test]
fn schemas_are_checked() {
    let server = server(Front::shared());
    let connect = |retention| ClickHouseStore::connect(&server, retention, StoreLimits::default(), || Timestamp(START)).map(drop);
    let error = connect(ALL).unwrap_err();
    assert!(matches!(error, StoreError::Schema { found: None, .. }), "{error}");
    assert!(error.to_string().contains("is missing") && error.to_string().contains("`flamekeeper collector migrate`"), "{error}");
    let front = Front::shared();
    front.run(&format!("CREATE DATABASE {}", server.database));
    assert!(matches!(connect(ALL), Err(StoreError::Schema { found: None, .. })));
    let short = Retention { raw: DAY, ..ALL };
    let migrated = migrate(&server, None, &short).unwrap();
    assert_eq!((migrated.from, migrated.changed), (None, true));
    connect(short).unwrap();
    let error = connect(ALL).unwrap_err();
    assert!(matches!(error, StoreError::ShortRetention) && error.to_string().contains("migrate"), "{error}");
    assert_eq!(migrate(&server, None, &ALL).unwrap().from, Some(migrated.to));
    connect(ALL).unwrap();
    assert!(!migrate(&server, None, &ALL).unwrap().changed);
    front.run(&format!("DROP TABLE {}.hours_view", server.database));
    front.run(&format!("TRUNCATE TABLE {}.versions", server.database));
    assert!(matches!(connect(ALL), Err(StoreError::Schema { found: None, .. })));
    assert!(migrate(&server, None, &ALL).unwrap().changed);
    assert_eq!(front.run(&format!("EXISTS TABLE {}.hours_view", server.database)).trim(), "1");
    front.run(&format!("INSERT INTO {}.versions (version, raw_age, minute_age, hour_age) VALUES (99, 1, 1, 1)", server.database));
    let error = connect(ALL).unwrap_err();
    assert!(matches!(error, StoreError::Schema { found: Some(99), .. }) && error.to_string().contains("newest"), "{error}");
    assert!(matches!(migrate(&server, None, &ALL), Err(StoreError::Schema { found: Some(99), .. })));
}

/// A question that nobody waits for, or whose time is over, ends with that reason; the store goes on.
#[test]
fn questions_end_early() {
    let subject = ClickHouse::start(StoreLimits::default(), ALL);
    let window = Window::new(Timestamp(0), Timestamp(u64::MAX));
    let watch = Watch::new(std::time::Duration::from_secs(600));
    watch.leave();
    let error = watch.during(|| subject.store.hosts(window)).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Stopped(Stopped::Left)), "{error}");
    let error = Watch::new(std::time::Duration::ZERO).during(|| subject.store.series(window)).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Stopped(Stopped::Time { .. })), "{error}");
    assert!(subject.store.hosts(window).unwrap().is_empty());
}

/// What the server refuses, and that it is not there, is told in its own words, shortened; the store goes on afterwards.
#[test]
fn errors_are_told() {
    let subject = ClickHouse::start(StoreLimits::default(), ALL);
    let mut server = subject.server.clone();
    let made = batch_at(&mut Random::new(3), Timestamp(START));
    subject.store.append(&id("a", 1), made.clone()).unwrap();
    server.query_memory = 1;
    let starved = ClickHouseStore::connect(&server, ALL, StoreLimits::default(), || Timestamp(START)).map(drop).unwrap_err().to_string();
    assert!(starved.contains("code 241") && starved.len() < 500, "{starved}");
    server.url = "http://127.0.0.1:1".to_owned();
    let gone = ClickHouseStore::connect(&server, ALL, StoreLimits::default(), || Timestamp(START)).map(drop).unwrap_err().to_string();
    assert!(gone.contains("ClickHouse cannot be asked: Connection refused"), "{gone}");
    Front::shared().run(&format!("DROP TABLE {}.samples", server.database));
    let error = subject.store.append(&id("a", 2), made.clone()).unwrap_err();
    assert!(matches!(error, StoreError::Schema { found: None, .. }), "{error}");
    assert_eq!(subject.store.append(&id("a", 1), made).unwrap(), Appended::Duplicate);
    let window = Window::new(Timestamp(0), Timestamp(u64::MAX));
    assert_eq!(subject.store.hosts(window).unwrap().len(), 1);
}
