//! Stores that earlier programs have written: `golden/store-vN.tar.gz` is a directory of layout `N`, as the crash test's child of the
//! program that wrote that layout left it after some sixty acknowledged batches (its journal cut behind the last byte).

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod store_fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use flamekeeper_collector::store::{Appended, EmbeddedStore, Selection, Store as _, StoreLimits};
use flamekeeper_profile::{Timestamp, Window};
use store_fixture::{SECOND, START, engine, folder, id, numbered, open};

fn unpack(version: u32, folder: &Path) {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/store-v{version}.tar.gz"));
    let status = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(folder).status().unwrap();
    assert!(status.success(), "tar could not unpack {}", archive.display());
}

/// Samples per address of the leaf.
fn addresses(store: &EmbeddedStore, window: Window, selector: &str) -> BTreeMap<u64, u64> {
    let merged = store.merged(&Selection { window, profile_type: "cpu".into(), selector: selector.parse().unwrap() }).unwrap();
    let tables = &merged.merged.tables;
    let address = |stack| tables.location(tables.stack(stack).unwrap().locations[0]).unwrap().address.0;
    let found: BTreeMap<u64, u64> = merged.merged.values().map(|(stack, value)| (address(stack), value.samples)).collect();
    assert_eq!(merged.completeness.ledger.taken, found.values().sum::<u64>());
    found
}

/// Checks everything of the store against the batches that it holds; gives their numbers.
fn check(store: &EmbeddedStore, from_of: impl Fn(u64) -> u64) -> BTreeSet<u64> {
    let all = Window::new(Timestamp(0), Timestamp(u64::MAX));
    let found = addresses(store, all, "");
    let there: BTreeSet<u64> = found.keys().copied().filter(|address| *address < 1 << 40).collect();
    let mut wanted: BTreeMap<u64, u64> = BTreeMap::new();
    for number in &there {
        for address in BTreeSet::from([*number, 1 << 40, (1 << 40) + number % 7]) {
            *wanted.entry(address).or_default() += 1;
        }
        let from = from_of(*number);
        // The hour: in the store of layout 2 the earlier rows are kept per hour only.
        let hour = Timestamp(from).align_down(3600 * SECOND);
        let own = addresses(store, Window::new(hour, hour.saturating_add(3600 * SECOND)), r#"{host="a"}"#);
        assert_eq!(own.get(number), Some(&1), "batch {number} is in its hour");
        assert_eq!(store.append(&id("a", *number), numbered(*number, from)).unwrap(), Appended::Duplicate);
    }
    assert_eq!(found, wanted);
    assert_eq!(addresses(store, all, r#"{host="a"}"#), wanted);
    let status = store.status().unwrap();
    let samples: u64 = wanted.values().sum();
    assert_eq!((status.batches as usize, status.samples_stored, status.ledger.taken), (there.len(), samples, samples));
    assert_eq!(store.series(all).unwrap().iter().map(|one| one.samples).sum::<u64>(), samples);
    there
}

/// Opens a store of layout `version`, uses it, derives its tiers, and opens it again.
fn use_and_reopen(folder: &Path, from_of: impl Fn(u64) -> u64 + Copy) {
    let store = open(folder);
    let there = check(&store, from_of);
    assert!(there.len() >= 60, "{there:?}");
    let next = there.last().unwrap() + 1;
    assert_eq!(store.append(&id("a", next), numbered(next, from_of(next))).unwrap(), Appended::Accepted);
    store.roll_up(Timestamp(START + 86_400 * SECOND)).unwrap();
    assert_eq!(check(&store, from_of).len(), there.len() + 1);
    drop(store);
    assert_eq!(check(&open(folder), from_of).len(), there.len() + 1);
}

const fn from_v1(number: u64) -> u64 {
    START + number * SECOND
}

/// A store of layout 1 is brought to the present one, with everything that it held.
#[test]
fn layout_1_is_migrated() {
    let folder = folder();
    unpack(1, folder.path());
    use_and_reopen(folder.path(), from_v1);
    let database = engine(folder.path());
    let names = database.list_keyspace_names();
    assert!(!names.iter().any(|name| matches!(&**name, "rows" | "stacks_content" | "texts_number")), "{names:?}");
}

/// A migration that was cut off begins anew: what it had written counts for nothing.
#[test]
fn migration_is_repeated() {
    let folder = folder();
    unpack(1, folder.path());
    {
        let database = engine(folder.path());
        for (name, key) in [("raw-163333", &[1, 9, 9][..]), ("dirty", b"half"), ("words-2916", b"s")] {
            database.keyspace(name, fjall::KeyspaceCreateOptions::default).unwrap().insert(key, "half").unwrap();
        }
    }
    use_and_reopen(folder.path(), from_v1);
}

/// A store of layout 2 as it was first written reads the same for ever.
#[test]
fn layout_2_reads() {
    let folder = folder();
    unpack(2, folder.path());
    use_and_reopen(folder.path(), |number| START + number * 7919 % 2880 * 10 * SECOND);
}

/// A damaged row of layout 1 is told as damage, nothing is deleted, and the version stays.
#[test]
fn damage_stops_the_migration() {
    let folder = folder();
    unpack(1, folder.path());
    let damage = |value: &[u8]| {
        let database = engine(folder.path());
        let rows = database.keyspace("rows", fjall::KeyspaceCreateOptions::default).unwrap();
        let (key, old) = rows.first_key_value().unwrap().into_inner().unwrap();
        rows.insert(key, value).unwrap();
        old.to_vec()
    };
    let old = damage(&[0xff; 3]);
    let error = EmbeddedStore::open(folder.path(), StoreLimits::default()).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
    damage(&old);
    use_and_reopen(folder.path(), from_v1);
}
