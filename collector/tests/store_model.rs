//! The embedded store against the plain truth: random batches, repeats and reopenings, and every question by brute force.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod store_fixture;

use std::collections::{BTreeMap, BTreeSet};

use flamekeeper_collector::store::{Appended, EmbeddedStore, Retention, Selection, Store as _, StoreError, StoreLimits};
use flamekeeper_profile::{Batch, Labels, Ledger, SampleType, Series, StackEnd, Svma, Tables, Timestamp, Window};
use store_fixture::{Random, SECOND, START, accept, batch, id, open, selected, stored_sums, sums};

fn selection(random: &mut Random) -> Selection {
    let from = START + random.below(3600) * SECOND;
    let length = random.below(3600) * SECOND;
    let window = random.pick(&[
        Window::new(Timestamp(0), Timestamp(u64::MAX)),
        Window::new(Timestamp(from), Timestamp(from + length)),
        Window::new(Timestamp(from), Timestamp(from)),
    ]);
    let selector = random.pick(&[
        "",
        r#"{service="api"}"#,
        r#"{service=""}"#,
        r#"{service="nobody"}"#,
        r#"{host=~"a|b",pid!="1"}"#,
        r#"{service!="web",version="2"}"#,
    ]);
    let profile_type = random.pick(&["cpu", "cpu", "alloc_space", "nothing"]).to_owned();
    Selection { window, profile_type, selector: selector.parse().unwrap() }
}

fn compare(store: &EmbeddedStore, batches: &[Batch], selection: &Selection) {
    let wanted = sums(batches, selection);
    assert_eq!(stored_sums(store, selection), wanted, "{selection:?}");
    let found = store.merged(selection).unwrap();
    let hosts: BTreeSet<&str> = selected(batches, selection).map(|(_, series)| series.labels.get("host")).collect();
    let mut ledger = Ledger::new();
    let of_host = |batch: &Batch| hosts.contains(batch.labels.get("host")) || selection.selector.matches(&batch.labels);
    let reported = |batch: &&Batch| selection.window.contains(batch.window.from) && of_host(batch);
    batches.iter().filter(reported).for_each(|batch| ledger.add(&batch.ledger));
    assert_eq!(found.completeness.ledger, ledger, "{selection:?}");
    let samples: u64 = wanted.values().map(|(_, samples)| samples).sum();
    assert_eq!(found.completeness.samples, samples);
    let truncated: u64 = wanted.iter().filter(|(stack, _)| stack.starts_with("Truncated")).map(|(_, (_, samples))| samples).sum();
    assert_eq!(found.completeness.truncated_total(), truncated);
    assert_eq!(found.unit.is_empty(), wanted.is_empty());
}

fn compare_series(store: &EmbeddedStore, batches: &[Batch], selection: &Selection, step: u64) {
    let mut wanted: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let points = selection.window.duration().div_ceil(step) as usize;
    for (batch, series) in selected(batches, selection) {
        let values = wanted.entry(series.labels.get("version").to_owned()).or_insert_with(|| vec![0; points]);
        let place = &mut values[((batch.window.from.0 - selection.window.from.0) / step) as usize];
        *place = place.saturating_add(series.sample_type.weigh(series.total()));
    }
    let found = store.time_series(selection, "version", step).unwrap();
    assert_eq!(found.by_value, wanted);
    assert_eq!(found.completeness.truncated, store.merged(selection).unwrap().completeness.truncated);
}

fn compare_catalog(store: &EmbeddedStore, batches: &[Batch], window: Window) {
    let mut series: BTreeMap<(Labels, SampleType), u64> = BTreeMap::new();
    let mut hosts: BTreeMap<Labels, (Ledger, Timestamp)> = BTreeMap::new();
    for batch in batches.iter().filter(|batch| window.contains(batch.window.from)) {
        let host = hosts.entry(batch.labels.clone()).or_default();
        host.0.add(&batch.ledger);
        host.1 = host.1.max(batch.window.to);
        for one in batch.series.iter().filter(|series| !series.values.is_empty()) {
            let sum = series.entry((one.labels.clone(), one.sample_type.clone())).or_default();
            *sum = sum.saturating_add(one.sample_type.weigh(one.total()));
        }
    }
    let found: BTreeMap<_, _> = store.series(window).unwrap().into_iter().map(|one| ((one.labels, one.sample_type), one.weight)).collect();
    assert_eq!(found, series);
    let found: BTreeMap<_, _> = store.hosts(window).unwrap().into_iter().map(|one| (one.labels, (one.ledger, one.last_seen))).collect();
    assert_eq!(found, hosts);
}

/// Whatever is stored, repeated and reopened, every answer equals that of brute force over what was accepted.
#[test]
fn answers_equal_brute_force() {
    for seed in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random::new(seed + 100);
        let mut store = open(folder.path());
        let (mut batches, mut sent) = (Vec::new(), BTreeSet::new());
        for _ in 0..80 {
            let key = (random.pick(&["agent_a", "agent_b"]), random.below(60));
            let made = batch(&mut random);
            let appended = store.append(&id(key.0, key.1), made.clone()).unwrap();
            assert_eq!(appended, if sent.insert(key) { Appended::Accepted } else { Appended::Duplicate });
            if appended == Appended::Accepted {
                batches.push(made);
            }
            if random.below(20) == 0 {
                drop(store);
                store = open(folder.path());
            }
        }
        for _ in 0..25 {
            compare(&store, &batches, &selection(&mut random));
        }
        for step in [7 * SECOND, 60 * SECOND, 10_000 * SECOND] {
            let window = Window::new(Timestamp(START + 100 * SECOND), Timestamp(START + 3000 * SECOND));
            let selection = Selection { window, ..selection(&mut random) };
            compare_series(&store, &batches, &selection, step);
            compare_catalog(&store, &batches, window);
        }
        let status = store.status().unwrap();
        assert_eq!(status.batches as usize, batches.len());
        assert_eq!(status.samples_stored, batches.iter().map(Batch::samples).sum::<u64>());
        assert!(status.writable);
    }
}

/// Many writers at once: each batch is there once, and what one of them was told holds for all.
#[test]
fn concurrent_writers() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let made: Vec<Batch> = (0..64).map(|seed| batch(&mut Random::new(seed))).collect();
    let accepted: usize = std::thread::scope(|scope| {
        let writer = |thread: usize| {
            let (store, made) = (&store, &made);
            move || {
                let mine = made.iter().enumerate().cycle().skip(thread * 8).take(64);
                mine.filter(|(number, batch)| store.append(&id("all", *number as u64), (*batch).clone()).unwrap() == Appended::Accepted)
                    .count()
            }
        };
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(writer(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(accepted, 64);
    let everything =
        Selection { window: Window::new(Timestamp(0), Timestamp(u64::MAX)), profile_type: "cpu".into(), selector: "".parse().unwrap() };
    compare(&store, &made, &everything);
}

fn one_sample(at: u64, address: u64) -> Batch {
    let mut tables = Tables::new();
    let location = tables.intern_address(flamekeeper_profile::FrameKind::Native, None, Svma(address));
    let stack = tables.intern_stack(&[location], StackEnd::Root);
    let labels = Labels::new().with("service", "api").with("host", "a");
    let series = vec![Series { labels: labels.clone(), sample_type: SampleType::cpu(1), values: vec![(stack, 1)] }];
    let mut ledger = Ledger::new();
    ledger.take(1);
    Batch { window: Window::new(Timestamp(at), Timestamp(at + SECOND)), labels, tables, series, ledger }
}

/// Rows, ledgers and identities go by age, and only those; what is kept is answered as before.
#[test]
fn retention_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let batches: Vec<_> = (0..100).map(|number| one_sample(START + number * SECOND, number)).collect();
    for (number, batch) in batches.iter().enumerate() {
        accept(&store, &id("a", number as u64), batch);
    }
    let retention = Retention { age: 40 * SECOND, bytes: u64::MAX };
    let retained = store.retain(&retention, Timestamp(START + 100 * SECOND)).unwrap();
    assert_eq!((retained.rows, retained.kept_from.0, retained.by_size), (60, START + 60 * SECOND, false));
    let window = Window::new(Timestamp(0), Timestamp(u64::MAX));
    compare_catalog(&store, &batches[60..], window);
    assert_eq!(store.append(&id("a", 60), batches[60].clone()).unwrap(), Appended::Duplicate);
    drop(store);
    compare_catalog(&open(folder.path()), &batches[60..], window);
}

/// Over the limit of bytes the oldest go, in steps, and a repeat of what went is still known.
#[test]
fn retention_by_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for number in 0..100 {
        accept(&store, &id("a", number), &one_sample(START + number * 60 * SECOND, number));
    }
    let now = Timestamp(START + 6000 * SECOND);
    let retention = Retention { age: 86_400 * SECOND, bytes: 1 };
    let first = store.retain(&retention, now).unwrap();
    assert!(first.by_size && (1..20).contains(&first.rows), "{first:?}");
    assert_eq!(store.append(&id("a", 0), one_sample(START, 0)).unwrap(), Appended::Duplicate);
    let second = store.retain(&retention, now).unwrap();
    assert!(second.kept_from > first.kept_from, "{second:?}");
    let enough = Retention { bytes: u64::MAX, ..retention };
    assert_eq!(store.retain(&enough, now).unwrap().rows, 0);
}

/// A selection that names a host answers with that host's losses, even where nothing else of it is left.
#[test]
fn losses_without_samples() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut lost = one_sample(START, 1);
    lost.series.clear();
    lost.ledger.lose(flamekeeper_profile::LossReason::RingFull, 1);
    accept(&store, &id("a", 1), &lost);
    let window = Window::new(Timestamp(START), Timestamp(START + SECOND));
    for (selector, lost) in [(r#"{host="a"}"#, 1), (r#"{host="b"}"#, 0), ("", 1)] {
        let selection = Selection { window, profile_type: "cpu".into(), selector: selector.parse().unwrap() };
        assert_eq!(store.merged(&selection).unwrap().completeness.ledger.lost_total(), lost, "{selector}");
    }
}

/// What the engine cannot hold as a key is refused by name, changes nothing, and the store goes on.
#[test]
fn contents_that_are_too_long() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let long = "x".repeat(70_000);
    let mut service = one_sample(START, 1);
    service.series[0].labels.set("service", &long);
    let mut sample_type = one_sample(START, 2);
    sample_type.series[0].sample_type = SampleType::plain(&long, "bytes");
    let mut object = one_sample(START, 3);
    let path = object.tables.intern_object(None, &long);
    let location = object.tables.intern_address(flamekeeper_profile::FrameKind::Native, Some(path), Svma(1));
    let stack = object.tables.intern_stack(&[location], StackEnd::Root);
    object.series[0].values = vec![(stack, 1)];
    let mut deep = one_sample(START, 4);
    let locations: Vec<_> =
        (0..70_000).map(|address| deep.tables.intern_address(flamekeeper_profile::FrameKind::Native, None, Svma(address))).collect();
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

/// Questions beyond the limits are refused by name: many stacks, many points, and many values of a label times points.
#[test]
fn limits_on_answers() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), StoreLimits { merged_stacks: 5, ..StoreLimits::default() }).unwrap();
    let mut many = one_sample(START, 0);
    let template = many.series.remove(0);
    for pid in 1..=90 {
        let labels = template.labels.clone().with("pid", &pid.to_string());
        many.series.push(Series { labels, ..template.clone() });
    }
    accept(&store, &id("a", 0), &many);
    (1..6).for_each(|number| accept(&store, &id("a", number), &one_sample(START, number)));
    let window = Window::new(Timestamp(START), Timestamp(START + 100_000 * SECOND));
    let selection = Selection { window, profile_type: "cpu".into(), selector: "".parse().unwrap() };
    assert!(matches!(store.merged(&selection), Err(StoreError::TooLarge { limit: 5 })));
    assert!(matches!(store.time_series(&selection, "service", 1), Err(StoreError::TooManyPoints { .. })));
    assert!(store.time_series(&selection, "service", 2 * SECOND).is_ok());
    assert!(matches!(store.time_series(&selection, "pid", 2 * SECOND), Err(StoreError::TooManyPoints { .. })));
    assert!(store.time_series(&selection, "pid", 200 * SECOND).is_ok());
}

/// One process at a time, one layout, and the words say what to do.
#[test]
fn locked_and_foreign() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let error = EmbeddedStore::open(folder.path(), StoreLimits::default()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(store);
    {
        let database = fjall::Database::builder(folder.path()).open().unwrap();
        let meta = database.keyspace("meta", fjall::KeyspaceCreateOptions::default).unwrap();
        meta.insert("version", 7_u32.to_le_bytes()).unwrap();
    }
    let error = EmbeddedStore::open(folder.path(), StoreLimits::default()).unwrap_err();
    assert!(matches!(error, StoreError::Version { found: 7, expected: 1 }), "{error}");
    assert!(error.to_string().contains("another directory"));
}

/// Damage in any entry is told by name or at least as an error, never a panic.
#[test]
fn damaged_entries() {
    for name in
        ["rows", "ledgers", "stacks_content", "locations_content", "objects_content", "texts_content", "series_content", "types_content"]
    {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let mut random = Random::new(3);
        for number in 0..20 {
            accept(&store, &id("a", number), &batch(&mut random));
        }
        drop(store);
        {
            let database = fjall::Database::builder(folder.path()).open().unwrap();
            let keyspace = database.keyspace(name, fjall::KeyspaceCreateOptions::default).unwrap();
            let keys: Vec<_> = keyspace.iter().map(|entry| entry.key().unwrap()).collect();
            assert!(!keys.is_empty(), "{name}");
            keys.into_iter().for_each(|key| keyspace.insert(key, [0xff; 3]).unwrap());
        }
        let store = open(folder.path());
        let everything =
            Selection { window: Window::new(Timestamp(0), Timestamp(u64::MAX)), profile_type: "cpu".into(), selector: "".parse().unwrap() };
        let error = store.merged(&everything).map(|_| ()).unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt { .. }), "{name}: {error}");
        _ = (store.series(everything.window), store.hosts(everything.window), store.time_series(&everything, "pid", SECOND));
    }
}
