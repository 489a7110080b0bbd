use std::time::Duration;

use flamekeeper_profile::{AgentFigures, FrameKind, Labels, Ledger, LocationId, SampleType, Series, StackEnd, Svma, Tables};

use super::tier::HOUR;
use super::*;
use crate::watch::{Stopped, Watch};

const DAY: u64 = 24 * HOUR;
const START: Timestamp = Timestamp(1_764_000_000 * Timestamp::SECOND);

fn id(sequence: u64) -> BatchId {
    BatchId { agent: "a".parse().unwrap(), sequence }
}

fn batch(from: Timestamp) -> Batch {
    let mut tables = Tables::new();
    let location = tables.intern_address(FrameKind::Native, None, Svma(from.0));
    let stack = tables.intern_stack(&[location], StackEnd::Root);
    let labels = Labels::new().with("service", "api").with("host", "a");
    let mut ledger = Ledger::new();
    ledger.take(1);
    let series = vec![Series { labels: labels.clone(), sample_type: SampleType::cpu(1), values: vec![(stack, 1)] }];
    let window = Window::new(from, from.saturating_add(10 * Timestamp::SECOND));
    Batch { window, labels, tables, series, ledger, figures: AgentFigures::default() }
}

fn everything() -> Selection {
    Selection { window: Window::new(Timestamp(0), Timestamp(u64::MAX)), profile_type: "cpu".into(), selector: "".parse().unwrap() }
}

/// A clock that jumps a year ahead makes nothing old; one that goes on by days does.
#[test]
fn a_clock_far_ahead_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), StoreLimits::default()).unwrap();
    assert_eq!(store.trusted(START), START, "an empty store knows no better");
    store.append(&id(1), batch(START)).unwrap();
    let retention = Retention { raw: 3 * DAY, minute: 30 * DAY, hour: 365 * DAY, bytes: u64::MAX };
    let wrong = store.trusted(START.saturating_add(400 * DAY));
    assert!((START.0..START.0 + 2 * DAY).contains(&wrong.0), "{wrong:?}");
    store.roll_up(wrong).unwrap();
    let retained = store.retain(&retention, wrong).unwrap();
    assert_eq!(retained.slots, 0);
    assert_eq!(store.merged(&everything()).unwrap().merged.total().samples, 1);
    // The batch is known still, and others of that day are taken.
    assert_eq!(store.append(&id(1), batch(START)).unwrap(), Appended::Duplicate);
    assert_eq!(store.append(&id(2), batch(START.saturating_add(HOUR))).unwrap(), Appended::Accepted);
    let later = START.saturating_add(5 * DAY);
    store.append(&id(3), batch(later)).unwrap();
    assert_eq!(store.trusted(later), later);
    store.roll_up(later.saturating_add(HOUR)).unwrap();
    assert!(store.retain(&retention, store.trusted(later.saturating_add(HOUR))).unwrap().slots > 0);
}

/// A batch of eight stacks, of which neighbours in `number` share seven: with an address, a name, a location of nowhere, and what equals that.
fn neighbours(number: u64) -> Batch {
    let mut batch = batch(START);
    let tables = &mut batch.tables;
    let named = tables.intern_named(FrameKind::Kernel, None, Svma(1), "schedule");
    let other = tables.intern_address(FrameKind::Other, None, Svma(0));
    let mut values = Vec::new();
    for address in number..number + 8 {
        let object = tables.intern_object(None, &format!("/bin/{}", address % 3));
        let location = tables.intern_address(FrameKind::Native, Some(object), Svma(address));
        let root = if number.is_multiple_of(2) { other } else { LocationId::new(u32::MAX) };
        values.push((tables.intern_stack(&[location, named, root], StackEnd::Root), 1));
    }
    batch.series[0].values = values;
    batch
}

/// What a batch holds has one number, whether the writer remembers all of the dictionaries, has forgotten a part, or found them on disk.
#[test]
fn contents_have_one_number() {
    for dictionary_bytes in [0, 3_000, 128 << 20] {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let store = EmbeddedStore::open(folder.path(), StoreLimits { dictionary_bytes, ..StoreLimits::default() }).unwrap();
            for number in 0..8 {
                store.append(&id(round * 8 + number), neighbours(round * 4 + number)).unwrap();
            }
            let checked = store.check().unwrap();
            assert_eq!(checked.damaged, 0, "{dictionary_bytes} {round} {checked:?}");
        }
        let store = EmbeddedStore::open(folder.path(), StoreLimits::default()).unwrap();
        let merged = store.merged(&everything()).unwrap().merged;
        // The last batch begins with address 15, so that there are those below 23.
        assert_eq!((merged.values().count(), merged.total().samples), (23, 3 * 8 * 8));
    }
}

/// A question whose asker has left, or whose time is over, ends with that and not with an answer.
#[test]
fn questions_are_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), StoreLimits::default()).unwrap();
    store.append(&id(1), batch(START)).unwrap();
    let left = Watch::new(Duration::from_secs(60));
    left.leave();
    let question = everything();
    assert!(matches!(left.during(|| store.merged(&question)), Err(StoreError::Stopped(Stopped::Left))));
    assert!(matches!(left.during(|| store.series(question.window)), Err(StoreError::Stopped(Stopped::Left))));
    assert!(matches!(left.during(|| store.time_series(&question, "service", u64::MAX)), Err(StoreError::Stopped(Stopped::Left))));
    let late = Watch::new(Duration::ZERO);
    assert!(matches!(late.during(|| store.hosts(question.window)), Err(StoreError::Stopped(Stopped::Time { .. }))));
    let fine = Watch::new(Duration::from_secs(60));
    assert!(fine.during(|| store.merged(&question)).is_ok());
    assert!(fine.rows() > 0);
}
