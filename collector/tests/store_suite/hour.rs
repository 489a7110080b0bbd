//! Batches of one hour: random ones, repeats and reopenings, and every question by brute force.

use std::collections::{BTreeMap, BTreeSet};

use flamekeeper_collector::store::{Appended, Selection, Store, StoreError, StoreLimits};
use flamekeeper_profile::{
    AgentFigures, Batch, FrameKind, Labels, Ledger, LossReason, SampleType, Series, StackEnd, Svma, Tables, Timestamp, Window,
};

use super::{ALL, Subject};
use crate::store_fixture::{Random, SECOND, START, accept, batch, id, selected, stored_sums, sums};

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

pub(crate) fn compare(store: &dyn Store, batches: &[Batch], selection: &Selection) {
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

fn compare_series(store: &dyn Store, batches: &[Batch], selection: &Selection, step: u64) {
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

pub(crate) fn compare_catalog(store: &dyn Store, batches: &[Batch], window: Window) {
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
pub(crate) fn answers_equal_brute_force<S: Subject>() {
    for seed in 0..S::SEEDS {
        let mut random = Random::new(seed + 100);
        let mut subject = S::start(StoreLimits::default(), ALL);
        let (mut batches, mut sent) = (Vec::new(), BTreeSet::new());
        for _ in 0..80 {
            let key = (random.pick(&["agent_a", "agent_b"]), random.below(60));
            let made = batch(&mut random);
            let appended = subject.store().append(&id(key.0, key.1), made.clone()).unwrap();
            assert_eq!(appended, if sent.insert(key) { Appended::Accepted } else { Appended::Duplicate });
            if appended == Appended::Accepted {
                batches.push(made);
            }
            if random.below(10) == 0 {
                subject.roll_up(Timestamp(START + random.below(4000) * SECOND));
            }
            if random.below(20) == 0 {
                subject.reopen();
            }
        }
        let store = subject.store();
        for _ in 0..2 * S::QUESTIONS {
            compare(store, &batches, &selection(&mut random));
        }
        for step in [7 * SECOND, 60 * SECOND, 10_000 * SECOND] {
            let window = Window::new(Timestamp(START + 100 * SECOND), Timestamp(START + 3000 * SECOND));
            let selection = Selection { window, ..selection(&mut random) };
            compare_series(store, &batches, &selection, step);
            compare_catalog(store, &batches, window);
        }
        let status = store.status().unwrap();
        assert_eq!(status.batches as usize, batches.len());
        assert_eq!(status.samples_stored, batches.iter().map(Batch::samples).sum::<u64>());
        assert!(status.writable);
    }
}

/// Many writers at once: each batch is there once, and what one of them was told holds for all.
pub(crate) fn concurrent_writers<S: Subject>() {
    let subject = S::start(StoreLimits::default(), ALL);
    let store = subject.store();
    let made: Vec<Batch> = (0..64).map(|seed| batch(&mut Random::new(seed))).collect();
    let accepted: usize = std::thread::scope(|scope| {
        let writer = |thread: usize| {
            let made = &made;
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
    compare(store, &made, &everything);
}

pub(crate) fn one_sample(at: u64, address: u64) -> Batch {
    let mut tables = Tables::new();
    let location = tables.intern_address(FrameKind::Native, None, Svma(address));
    let stack = tables.intern_stack(&[location], StackEnd::Root);
    let labels = Labels::new().with("service", "api").with("host", "a");
    let series = vec![Series { labels: labels.clone(), sample_type: SampleType::cpu(1), values: vec![(stack, 1)] }];
    let mut ledger = Ledger::new();
    ledger.take(1);
    Batch { window: Window::new(Timestamp(at), Timestamp(at + SECOND)), labels, tables, series, ledger, figures: AgentFigures::default() }
}

/// A selection that names a host answers with that host's losses, even where nothing else of it is left.
pub(crate) fn losses_without_samples<S: Subject>() {
    let subject = S::start(StoreLimits::default(), ALL);
    let store = subject.store();
    let mut lost = one_sample(START, 1);
    lost.series.clear();
    lost.ledger.lose(LossReason::RingFull, 1);
    accept(store, &id("a", 1), &lost);
    let window = Window::new(Timestamp(START), Timestamp(START + SECOND));
    for (selector, lost) in [(r#"{host="a"}"#, 1), (r#"{host="b"}"#, 0), ("", 1)] {
        let selection = Selection { window, profile_type: "cpu".into(), selector: selector.parse().unwrap() };
        assert_eq!(store.merged(&selection).unwrap().completeness.ledger.lost_total(), lost, "{selector}");
    }
}

/// Questions beyond the limits are refused by name: many stacks, many points, and many values of a label times points.
pub(crate) fn limits_on_answers<S: Subject>() {
    let subject = S::start(StoreLimits { merged_stacks: 5, ..StoreLimits::default() }, ALL);
    let store = subject.store();
    let mut many = one_sample(START, 0);
    let template = many.series.remove(0);
    for pid in 1..=90 {
        let labels = template.labels.clone().with("pid", &pid.to_string());
        many.series.push(Series { labels, ..template.clone() });
    }
    accept(store, &id("a", 0), &many);
    (1..6).for_each(|number| accept(store, &id("a", number), &one_sample(START, number)));
    let window = Window::new(Timestamp(START), Timestamp(START + 100_000 * SECOND));
    let selection = Selection { window, profile_type: "cpu".into(), selector: "".parse().unwrap() };
    assert!(matches!(store.merged(&selection), Err(StoreError::TooLarge { limit: 5 })));
    assert!(matches!(store.time_series(&selection, "service", 1), Err(StoreError::TooManyPoints { .. })));
    assert!(store.time_series(&selection, "service", 2 * SECOND).is_ok());
    assert!(matches!(store.time_series(&selection, "pid", 2 * SECOND), Err(StoreError::TooManyPoints { .. })));
    assert!(store.time_series(&selection, "pid", 200 * SECOND).is_ok());
}
