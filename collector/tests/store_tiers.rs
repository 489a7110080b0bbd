//! The tiers of the embedded store: what every store must hold over weeks, and what only this one derives and deletes.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod store_fixture;
mod store_suite;

use flamekeeper_collector::store::{Appended, Retained, Retention, Store as _};
use flamekeeper_profile::Timestamp;
use store_fixture::{Random, SECOND, START, batch_at, folder, id, open};
use store_suite::tiers::{self, DAY, HOUR, MINUTE, Model};
use store_suite::{Embedded, leaks, requests};

/// Over three weeks of a clock that goes on, batches come in time, late, twice and too late; the store is derived, cut down and
/// reopened in between: whatever is asked, the answer is that of brute force, and each batch counts once.
#[test]
fn answers_equal_brute_force() {
    tiers::answers_equal_brute_force::<Embedded>();
}

/// A leak is found among what is none, per version, and the verdict is the same from the tier of minutes.
#[test]
fn leaks_are_found_in_all_tiers() {
    leaks::leaks_in_all_tiers::<Embedded>();
}

/// Requests that were posted are counted once, and answered the same from every tier.
#[test]
fn requests_are_counted_in_all_tiers() {
    requests::requests_in_all_tiers::<Embedded>();
}

/// A day of one host, derived, then a batch of each hour comes late: only what came is added, and answers from the derived tiers
/// are exact at once and after.
#[test]
fn late_batches_are_added() {
    let folder = folder();
    let store = open(folder.path());
    let mut random = Random::new(5);
    let start = Timestamp(START - START % DAY);
    let mut model = Model { batches: Vec::new(), kept: Retained::default(), seed: 5, questions: 12 };
    let end = start.saturating_add(2 * DAY);
    for number in 0..200 {
        let made = batch_at(&mut random, start.saturating_add(number * 7 * MINUTE));
        store.append(&id("a", number), made.clone()).unwrap();
        model.batches.push(made);
    }
    store.roll_up(end).unwrap();
    let before = store.roll_up(end).unwrap();
    assert_eq!(before.buckets, 0);
    for number in 0..24 {
        let made = batch_at(&mut random, start.saturating_add(number * HOUR + 10 * SECOND));
        store.append(&id("b", number), made.clone()).unwrap();
        model.batches.push(made);
    }
    model.compare(&store, &mut random, end);
    let rolled = store.roll_up(end).unwrap();
    let late: usize = model.batches[200..].iter().map(|batch| 1 + batch.series.iter().filter(|one| !one.values.is_empty()).count()).sum();
    assert_eq!(rolled.rows as usize, 2 * late, "each late row and ledger once into its minute and once into its hour");
    model.compare(&store, &mut random, end);
}

/// Over the limit of bytes the oldest slots go first, floors rise for good, and an identity outlives its rows.
#[test]
fn retention_by_bytes() {
    let folder = folder();
    let store = open(folder.path());
    let mut random = Random::new(9);
    let mut model = Model { batches: Vec::new(), kept: Retained::default(), seed: 9, questions: 12 };
    for number in 0..100 {
        let made = batch_at(&mut random, Timestamp(START + number * 20 * MINUTE));
        store.append(&id("a", number), made.clone()).unwrap();
        model.batches.push(made);
    }
    let now = Timestamp(START + 100 * 20 * MINUTE + HOUR);
    store.roll_up(now).unwrap();
    let retention = Retention { raw: 30 * DAY, minute: 30 * DAY, hour: 30 * DAY, bytes: 1 };
    let mut passes = 0;
    loop {
        let kept = store.retain(&retention, now).unwrap();
        if !kept.by_size {
            break;
        }
        assert!(kept.raw_from > model.kept.raw_from || kept.minute_from > model.kept.minute_from || kept.hour_from > model.kept.hour_from);
        model.kept = kept;
        passes += 1;
        model.compare(&store, &mut random, now);
    }
    assert!(passes > 5, "{passes}");
    assert!(model.kept.raw_from.0 + 3 * HOUR > now.0 - HOUR, "all but the slots of now are gone: {:?}", model.kept);
    assert_eq!(store.append(&id("a", 0), model.batches[0].clone()).unwrap(), Appended::Duplicate);
    drop(store);
    let store = open(folder.path());
    model.compare(&store, &mut random, now);
    assert_eq!(store.retain(&Retention { bytes: u64::MAX, ..retention }, now).unwrap().slots, 0);
}
