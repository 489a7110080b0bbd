//! The store on a disk that is full, read-only, damaged at its end, or somebody else's: a clear error, and nothing acknowledged lost.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod store_fixture;

use std::path::Path;
use std::process::Command;

use flamekeeper_collector::store::{Appended, EmbeddedStore, Retention, Store as _, StoreError, StoreLimits};
use flamekeeper_profile::{Batch, Timestamp, Window};
use store_fixture::{Random, SECOND, START, batch_at, folder, id, open};

const DISK: &str = "FLAMEKEEPER_TEST_DISK";

/// A batch whose text makes it large and hard to compress.
fn large(number: u64) -> Batch {
    let mut random = Random::new(number + 1);
    let mut batch = batch_at(&mut random, Timestamp(START + number * 10 * SECOND));
    for _ in 0..200 {
        let name: String = (0..40).map(|_| format!("{:016x}", random.next())).collect();
        let object = batch.tables.intern_object(None, &name);
        let address = flamekeeper_profile::Svma(random.next());
        let location = batch.tables.intern_address(flamekeeper_profile::FrameKind::Native, Some(object), address);
        let stack = batch.tables.intern_stack(&[location], flamekeeper_profile::StackEnd::Root);
        if let Some(series) = batch.series.first_mut() {
            series.values.push((stack, 1));
        }
    }
    batch
}

/// Runs this program's test `name` with a file system in memory of its own, in a mount namespace of its own.
fn on_a_disk_of_its_own(name: &str) {
    let root = std::fs::metadata("/proc/self").is_ok_and(|status| std::os::unix::fs::MetadataExt::uid(&status) == 0);
    assert!(root, "this test mounts a file system and must run as root");
    let folder = folder();
    let script = format!("mount -t tmpfs -o size=24m none '{}' && exec \"$0\" \"$@\"", folder.path().display());
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(DISK, folder.path())
        .status()
        .unwrap();
    assert!(status.success(), "{name}: {status}");
}

fn remount(folder: &Path, options: &str) {
    let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(folder).status().unwrap();
    assert!(status.success());
}

/// Batches that were acknowledged, until one is not; with that one's error.
fn fill(store: &EmbeddedStore, first: u64) -> (u64, StoreError) {
    for number in first.. {
        match store.append(&id("a", number), large(number)) {
            Ok(appended) => assert_eq!(appended, Appended::Accepted),
            Err(error) => return (number, error),
        }
    }
    unreachable!("the disk has no end")
}

/// Checks that the first batches are there, once each, and nothing else but perhaps the one after them.
fn check(store: &EmbeddedStore, acknowledged: u64) {
    let taken: Vec<u64> = (0..=acknowledged).map(|number| large(number).ledger.taken).collect();
    let all: u64 = taken[..acknowledged as usize].iter().sum();
    let status = store.status().unwrap();
    assert!(status.batches == acknowledged || status.batches == acknowledged + 1, "{} of {acknowledged}", status.batches);
    let next = if status.batches > acknowledged { taken[acknowledged as usize] } else { 0 };
    let hosts = store.hosts(Window::new(Timestamp(0), Timestamp(u64::MAX))).unwrap();
    assert_eq!(hosts.iter().map(|host| host.ledger.taken).sum::<u64>(), all + next);
    for number in 0..acknowledged {
        assert_eq!(store.append(&id("a", number), large(number)).unwrap(), Appended::Duplicate);
    }
}

/// Not a test of its own: runs on a small disk. The disk becomes full, the store says so and takes no more; with room and a
/// restart all that was acknowledged is there, and it goes on.
#[test]
fn child_full_disk() {
    let Ok(folder) = std::env::var(DISK) else { return };
    let folder = Path::new(&folder);
    let store = open(folder);
    let (acknowledged, error) = fill(&store, 0);
    assert!(acknowledged > 3 && matches!(error, StoreError::Engine { .. } | StoreError::Closed), "{acknowledged}: {error}");
    assert!(matches!(store.append(&id("a", 9999), large(9999)), Err(StoreError::Closed)));
    assert!(!store.status().unwrap().writable);
    drop(store);
    remount(folder, "size=256m");
    let store = open(folder);
    check(&store, acknowledged);
    let now = Timestamp(START + 86_400 * SECOND);
    store.roll_up(now).unwrap();
    check(&store, acknowledged);
    assert_eq!(store.append(&id("b", 1), large(5)).unwrap(), Appended::Accepted);
}

/// Not a test of its own: runs on a small disk. With a floor of free bytes batches are sent away before the disk is full, and
/// taken again, without a restart, once there is room.
#[test]
fn child_floor() {
    let Ok(folder) = std::env::var(DISK) else { return };
    let folder = Path::new(&folder);
    let limits = StoreLimits { min_free_bytes: 12 << 20, ..StoreLimits::default() };
    let store = EmbeddedStore::open(folder, limits).unwrap();
    let (acknowledged, error) = fill(&store, 0);
    assert!(acknowledged > 3 && matches!(error, StoreError::Full { .. }), "{acknowledged}: {error}");
    assert!(error.to_string().contains("free"), "{error}");
    let status = store.status().unwrap();
    assert!(!status.writable && status.refused_full > 0);
    // All of it is of now, so nothing can make room.
    let retention = Retention { raw: 1 << 60, minute: 1 << 60, hour: 1 << 60, bytes: u64::MAX };
    assert!(store.retain(&retention, Timestamp(START)).unwrap().full);
    remount(folder, "size=256m");
    assert_eq!(store.append(&id("a", acknowledged), large(acknowledged)).unwrap(), Appended::Accepted);
    assert!(store.status().unwrap().writable);
    check(&store, acknowledged + 1);
}

/// Not a test of its own: runs on a small disk, which becomes read-only between two starts.
#[test]
fn child_read_only() {
    let Ok(folder) = std::env::var(DISK) else { return };
    let folder = Path::new(&folder);
    let store = open(folder);
    for number in 0..5 {
        store.append(&id("a", number), large(number)).unwrap();
    }
    drop(store);
    remount(folder, "ro");
    let error = EmbeddedStore::open(folder, StoreLimits::default()).unwrap_err().to_string();
    assert!(error.contains("open its directory") && error.to_lowercase().contains("read-only"), "{error}");
    remount(folder, "rw");
    check(&open(folder), 5);
}

/// A full disk: an error, no acknowledgement, nothing lost.
#[test]
fn full_disk() {
    on_a_disk_of_its_own("child_full_disk");
}

/// The floor of free bytes is held, and batches are taken again once there is room.
#[test]
fn floor_of_free_bytes() {
    on_a_disk_of_its_own("child_floor");
}

/// A read-only disk: a clear error, nothing changed.
#[test]
fn read_only_disk() {
    on_a_disk_of_its_own("child_read_only");
}

/// The journal ends in the middle of a write, as after a crash of the machine: what stands before is there, and the store goes on.
#[test]
fn torn_write() {
    for cut in [1, 7, 100, 5000] {
        let folder = folder();
        let store = open(folder.path());
        for number in 0..5 {
            store.append(&id("a", number), large(number)).unwrap();
        }
        drop(store);
        // Writes are torn where a store was not closed in order: then it is not sealed either.
        std::fs::remove_file(folder.path().join("sealed")).unwrap();
        let journals = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let journal = journals.filter(|path| path.extension().is_some_and(|end| end == "jnl")).max().unwrap();
        // The file is longer than what was written into it: the last byte that is not 0 ends the last write.
        let bytes = std::fs::read(&journal).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        std::fs::OpenOptions::new().write(true).open(&journal).unwrap().set_len((end - cut) as u64).unwrap();
        let store = open(folder.path());
        let kept = store.status().unwrap().batches;
        assert!((1..=4).contains(&kept), "cut by {cut}: {kept} batches");
        check(&store, kept);
        for number in kept..5 {
            assert_eq!(store.append(&id("a", number), large(number)).unwrap(), Appended::Accepted);
        }
        store.roll_up(Timestamp(START + 86_400 * SECOND)).unwrap();
        check(&store, 5);
    }
}
