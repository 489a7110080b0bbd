//! The embedded store: what every store must hold over an hour, and what only this one can fail at.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod store_fixture;
mod store_suite;

use flamekeeper_collector::store::{EmbeddedStore, Selection, Store as _, StoreError, StoreLimits};
use flamekeeper_profile::{FrameKind, SampleType, StackEnd, Svma, Timestamp, Window};
use store_fixture::{Random, SECOND, START, accept, batch, engine, folder, id, open};
use store_suite::hour::{compare_catalog, one_sample};
use store_suite::{Embedded, hour};

/// Whatever is stored, repeated and reopened, every answer equals that of brute force over what was accepted.
#[test]
fn answers_equal_brute_force() {
    hour::answers_equal_brute_force::<Embedded>();
}

/// Many writers at once: each batch is there once, and what one of them was told holds for all.
#[test]
fn concurrent_writers() {
    hour::concurrent_writers::<Embedded>();
}

/// A selection that names a host answers with that host's losses, even where nothing else of it is left.
#[test]
fn losses_without_samples() {
    hour::losses_without_samples::<Embedded>();
}

/// Questions beyond the limits are refused by name.
#[test]
fn limits_on_answers() {
    hour::limits_on_answers::<Embedded>();
}

/// What the engine cannot hold as a key is refused by name, changes nothing, and the store goes on.
#[test]
fn contents_that_are_too_long() {
    let folder = folder();
    let store = open(folder.path());
    let long = "x".repeat(70_000);
    let mut service = one_sample(START, 1);
    service.series[0].labels.set("service", &long);
    let mut sample_type = one_sample(START, 2);
    sample_type.series[0].sample_type = SampleType::plain(&long, "bytes");
    let mut object = one_sample(START, 3);
    let path = object.tables.intern_object(None, &long);
    let location = object.tables.intern_address(FrameKind::Native, Some(path), Svma(1));
    let stack = object.tables.intern_stack(&[location], StackEnd::Root);
    object.series[0].values = vec![(stack, 1)];
    let mut deep = one_sample(START, 4);
    let locations: Vec<_> = (0..70_000).map(|address| deep.tables.intern_address(FrameKind::Native, None, Svma(address))).collect();
    let stack = deep.tables.intern_stack(&locations, StackEnd::Root);
    deep.series[0].values = vec![(stack, 1)];
    for (number, batch) in [service, sample_type, object, deep].into_iter().enumerate() {
        let error = store.append(&id("a", number as u64), batch.clone()).unwrap_err();
        assert!(matches!(error, StoreError::TooLong { .. }), "{error}");
    }
    assert_eq!(store.status().unwrap().batches, 0);
    accept(&store, &id("a", 9), &one_sample(START, 9));
    drop(store);
    let store = open(folder.path());
    let window = Window::new(Timestamp(0), Timestamp(u64::MAX));
    compare_catalog(&store, &[one_sample(START, 9)], window);
}

/// One process at a time, one layout, and the words say what to do.
#[test]
fn locked_and_foreign() {
    let folder = folder();
    let store = open(folder.path());
    let error = EmbeddedStore::open(folder.path(), StoreLimits::default()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(store);
    {
        let database = engine(folder.path());
        let meta = database.keyspace("meta", fjall::KeyspaceCreateOptions::default).unwrap();
        meta.insert("version", 7_u32.to_le_bytes()).unwrap();
    }
    let error = EmbeddedStore::open(folder.path(), StoreLimits::default()).unwrap_err();
    assert!(matches!(error, StoreError::Version { found: 7, expected: 2 }), "{error}");
    assert!(error.to_string().contains("another directory"));
}

/// Damage in any entry is told by name or at least as an error, never a panic.
#[test]
fn damaged_entries() {
    // The kind of keyspace, and what the keys of the damaged entries begin with.
    for (name, tag) in
        [("raw-", 1), ("raw-", 3), ("hour-", 1), ("hour-", 3), ("minute-", 1)].into_iter().chain(b"slotry".map(|tag| ("words-", tag)))
    {
        let folder = folder();
        let store = open(folder.path());
        let mut random = Random::new(3);
        for number in 0..20 {
            accept(&store, &id("a", number), &batch(&mut random));
        }
        if !matches!(name, "raw-") {
            store.roll_up(Timestamp(START + 7200 * SECOND)).unwrap();
        }
        drop(store);
        {
            let database = engine(folder.path());
            let mut damaged = 0;
            for full in database.list_keyspace_names().iter().filter(|full| full.starts_with(name)) {
                let keyspace = database.keyspace(full, fjall::KeyspaceCreateOptions::default).unwrap();
                let keys: Vec<_> = keyspace.prefix([tag]).map(|entry| entry.key().unwrap()).collect();
                damaged += keys.len();
                keys.into_iter().for_each(|key| keyspace.insert(key, [0xff; 3]).unwrap());
            }
            assert!(damaged > 0, "{name} {tag}");
        }
        let store = open(folder.path());
        // From a minute before the hour on, so that minutes are read too.
        let window = Window::new(Timestamp(START - START % (3600 * SECOND) - 60 * SECOND), Timestamp(START + 1800 * SECOND));
        let window = if name == "minute-" { window } else { Window::new(Timestamp(0), Timestamp(u64::MAX)) };
        let everything = Selection { window, profile_type: "cpu".into(), selector: "".parse().unwrap() };
        let error = store.merged(&everything).map(|_| ()).unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt { .. }), "{name} {tag}: {error}");
        _ = (store.series(everything.window), store.hosts(everything.window), store.time_series(&everything, "pid", SECOND));
    }
}
