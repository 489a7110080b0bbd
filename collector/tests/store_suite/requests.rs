//! Requests that were posted: by both stores, from every tier, and by version and host.

use flamekeeper_collector::query::diff::{Counted, SideProfile, UncountedError, counted, gather_whole};
use flamekeeper_collector::requests::Count;
use flamekeeper_collector::selector::Selector;
use flamekeeper_collector::store::{Appended, Retention, Selection, Store, StoreLimits};
use flamekeeper_profile::diff::Side;
use flamekeeper_profile::{AgentFigures, Batch, FrameKind, Labels, Ledger, SampleType, Series, StackEnd, Svma, Tables, Timestamp, Window};

use super::Subject;
use super::tiers::{DAY, HOUR, MINUTE};
use crate::store_fixture::{START, id};

/// The start of an hour: what is asked for is whole hours, which every tier answers.
const BEGIN: u64 = START - START % HOUR + HOUR;

/// So many seconds of a host that runs a version.
fn profile(host: &str, version: &str, from: u64, length: u64) -> Batch {
    let mut tables = Tables::new();
    let main = tables.intern_named(FrameKind::Native, None, Svma(0), "main");
    let stack = tables.intern_stack(&[main], StackEnd::Root);
    let labels = Labels::new().with("host", host).with("service", "api").with("version", version);
    let mut ledger = Ledger::new();
    ledger.take(7);
    let from = Timestamp(BEGIN + from * Timestamp::SECOND);
    Batch {
        window: Window::new(from, from.saturating_add(length * Timestamp::SECOND)),
        labels: Labels::new().with("host", host),
        tables,
        series: vec![Series { labels, sample_type: SampleType::cpu(50_000_000), values: vec![(stack, 7)] }],
        ledger,
        figures: AgentFigures::default(),
    }
}

fn post(store: &dyn Store, (version, host): (&str, &str), minutes: std::ops::Range<u64>, count: u64) -> Vec<Appended> {
    let window = Window::new(Timestamp(BEGIN + minutes.start * MINUTE), Timestamp(BEGIN + minutes.end * MINUTE));
    let count = Count { service: "api".into(), version: version.into(), host: host.into(), window, count };
    let batches = count.batches(None).unwrap();
    batches.into_iter().map(|(id, batch)| store.append(&id, batch).unwrap()).collect()
}

fn ask(store: &dyn Store, query: &str, hours: std::ops::Range<u64>) -> Result<Counted, UncountedError> {
    let window = Window::new(Timestamp(BEGIN + hours.start * HOUR), Timestamp(BEGIN + hours.end * HOUR));
    let selection = Selection { window, profile_type: "cpu".into(), selector: query.parse::<Selector>().unwrap() };
    let side: SideProfile = gather_whole(store, &selection).unwrap();
    counted(store, &selection, &side, Side::A)
}

/// Count, part of the time, hosts, and whether any version counts.
fn told(found: Result<Counted, UncountedError>) -> (u64, u64, usize, bool) {
    let found = found.unwrap();
    (found.count.get(), (found.covered * 100.0).round() as u64, found.hosts, found.any_version)
}

fn check(store: &dyn Store) {
    // By hosts: all of both in the first hour.
    assert_eq!(told(ask(store, r#"{service="api", version="1"}"#, 0..1)), (18_000, 100, 2, false));
    assert_eq!(told(ask(store, r#"{service="api", host="web-1"}"#, 0..1)), (12_000, 100, 1, false));
    // Three quarters of the second hour, of all hosts together and without a version: at that rate in all of it.
    assert_eq!(told(ask(store, r#"{service="api", version="2"}"#, 1..2)), (12_000, 75, 0, true));
    assert_eq!(told(ask(store, r#"{service="api"}"#, 1..2)), (12_000, 75, 0, false));
    for nobody in [ask(store, r#"{service="api"}"#, 2..3), ask(store, r#"{service="db"}"#, 0..1)] {
        assert!(matches!(nobody, Err(UncountedError::Nothing { .. })));
    }
}

/// What was posted is counted once, and answered the same from windows as they came and from what they were merged into.
pub(crate) fn requests_in_all_tiers<S: Subject>() {
    let retention = Retention { raw: DAY, minute: 30 * DAY, hour: 300 * DAY, bytes: u64::MAX };
    let subject = S::start(StoreLimits::default(), retention);
    let store = subject.store();
    let mut sequence = 0;
    for (host, version, hour) in [("web-1", "1", 0), ("web-2", "1", 0), ("web-1", "2", 1)] {
        // The step that the window is looked at in is 20 s: an hour ends with a window of its last one.
        for (second, length) in (0..3600).step_by(60).map(|second| (second, 60)).chain([(3580, 20)]) {
            store.append(&id("agent", sequence), profile(host, version, hour * 3600 + second, length)).unwrap();
            sequence += 1;
        }
    }
    for minutes in [0..30, 30..60] {
        assert!(post(store, ("1", "web-1"), minutes.clone(), 6000).iter().all(|appended| *appended == Appended::Accepted));
        post(store, ("1", "web-2"), minutes, 3000);
    }
    post(store, ("", ""), 60..105, 9000);
    assert!(post(store, ("1", "web-1"), 0..30, 6000).iter().all(|appended| *appended == Appended::Duplicate));
    check(store);
    // A window that begins within a count takes its part of it.
    let window = Window::new(Timestamp(BEGIN + 75 * MINUTE), Timestamp(BEGIN + 105 * MINUTE));
    let selection = Selection { window, profile_type: "cpu".into(), selector: r#"{service="api"}"#.parse().unwrap() };
    let part = counted(store, &selection, &gather_whole(store, &selection).unwrap(), Side::A).unwrap();
    assert_eq!(part.posted, 6000);
    let later = Timestamp(BEGIN + 3 * DAY);
    subject.roll_up(later);
    assert!(subject.retain(later).raw_from > Timestamp(BEGIN + 3 * HOUR));
    check(subject.store());
}
