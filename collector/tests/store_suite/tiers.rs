//! Batches of weeks: in time, late and twice, derived, deleted and reopened in any order; every question by brute force over the
//! batches.

use std::collections::{BTreeMap, BTreeSet};

use flamekeeper_collector::store::{Appended, Retained, Retention, Selection, Store, StoreError, StoreLimits};
use flamekeeper_profile::{Batch, Labels, Ledger, SampleType, Series, Timestamp, Window};

use super::Subject;
use crate::store_fixture::{Random, SECOND, START, Sums, batch_at, describe, id, stored_sums};

pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;
const RETENTION: Retention = Retention { raw: DAY, minute: 4 * DAY, hour: 10 * DAY, bytes: u64::MAX };

/// What was stored, and what is still kept of it.
pub(crate) struct Model {
    pub(crate) batches: Vec<Batch>,
    pub(crate) kept: Retained,
    pub(crate) seed: u64,
    /// How many questions are asked in a comparison.
    pub(crate) questions: u64,
}

impl Model {
    /// Where the window of a batch stands in answers; none where nothing of it is left.
    fn place(&self, from: Timestamp, merged: bool) -> Option<Timestamp> {
        let minute_from = if merged { self.kept.minute_from } else { self.kept.raw_from };
        match from {
            _ if from < self.kept.hour_from => None,
            _ if from < minute_from => Some(from.align_down(HOUR)),
            _ if from < self.kept.raw_from => Some(from.align_down(MINUTE)),
            _ => Some(from),
        }
    }

    /// The batches of a window, with the place of each.
    fn inside(&self, window: Window, merged: bool) -> impl Iterator<Item = (&Batch, Timestamp)> {
        let placed = move |batch| Some((batch, self.place(batch_from(batch), merged)?));
        self.batches.iter().filter_map(placed).filter(move |(_, place)| window.contains(*place))
    }

    fn selected<'a>(&'a self, selection: &'a Selection, merged: bool) -> impl Iterator<Item = (&'a Batch, &'a Series, Timestamp)> {
        let wanted =
            |series: &Series| series.sample_type.query_name() == selection.profile_type && selection.selector.matches(&series.labels);
        let inside = self.inside(selection.window, merged);
        let all = inside.flat_map(|(batch, place)| batch.series.iter().map(move |series| (batch, series, place)));
        all.filter(move |(_, series, _)| wanted(series) && !series.values.is_empty())
    }

    fn ledger(&self, selection: &Selection, merged: bool) -> Ledger {
        let hosts: BTreeSet<&str> = self.selected(selection, merged).map(|(_, series, _)| series.labels.get("host")).collect();
        let mut ledger = Ledger::new();
        for (batch, _) in self.inside(selection.window, merged) {
            if hosts.contains(batch.labels.get("host")) || selection.selector.matches(&batch.labels) {
                ledger.add(&batch.ledger);
            }
        }
        ledger
    }

    fn compare_merged(&self, store: &dyn Store, selection: &Selection) {
        let merged = is_merged(selection);
        let mut wanted = Sums::new();
        for (batch, series, _) in self.selected(selection, merged) {
            for (stack, value) in &series.values {
                let sum = wanted.entry(describe(&batch.tables, *stack)).or_default();
                sum.0 = sum.0.saturating_add(series.sample_type.weigh(*value));
                sum.1 = sum.1.saturating_add(if series.sample_type.is_periodic() { *value } else { 0 });
            }
        }
        let seed = self.seed;
        assert_eq!(stored_sums(store, selection), wanted, "seed {seed}, {selection:?}");
        let found = store.merged(selection).unwrap().completeness;
        assert_eq!(found.ledger, self.ledger(selection, merged), "seed {seed}, {selection:?}");
        let truncated: u64 = wanted.iter().filter(|(stack, _)| stack.starts_with("Truncated")).map(|(_, (_, samples))| samples).sum();
        assert_eq!((found.samples, found.truncated_total()), (wanted.values().map(|(_, samples)| samples).sum(), truncated));
    }

    fn compare_series(&self, store: &dyn Store, selection: &Selection, by: &str, step: u64) {
        let merged = is_merged(selection) && matches!(by, "service" | "version");
        let points = selection.window.duration().div_ceil(step) as usize;
        let mut wanted: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (_, series, place) in self.selected(selection, merged) {
            let values = wanted.entry(series.labels.get(by).to_owned()).or_insert_with(|| vec![0; points]);
            let value = &mut values[((place.0 - selection.window.from.0) / step) as usize];
            *value = value.saturating_add(series.sample_type.weigh(series.total()));
        }
        let found = store.time_series(selection, by, step).unwrap();
        assert_eq!(found.by_value, wanted, "seed {}, {selection:?} by {by}, {step}", self.seed);
        assert_eq!(found.completeness.ledger, self.ledger(selection, merged), "seed {}, {selection:?}", self.seed);
    }

    fn compare_catalog(&self, store: &dyn Store, window: Window) {
        let mut series: BTreeMap<(Labels, SampleType), u64> = BTreeMap::new();
        let mut hosts: BTreeMap<Labels, (Ledger, Timestamp)> = BTreeMap::new();
        for (batch, _) in self.inside(window, false) {
            let host = hosts.entry(batch.labels.clone()).or_default();
            host.0.add(&batch.ledger);
            host.1 = host.1.max(batch.window.to);
            for one in batch.series.iter().filter(|series| !series.values.is_empty()) {
                let sum = series.entry((one.labels.clone(), one.sample_type.clone())).or_default();
                *sum = sum.saturating_add(one.sample_type.weigh(one.total()));
            }
        }
        let found: BTreeMap<_, _> =
            store.series(window).unwrap().into_iter().map(|one| ((one.labels, one.sample_type), one.weight)).collect();
        assert_eq!(found, series, "seed {}, {window:?}", self.seed);
        let found: BTreeMap<_, _> = store.hosts(window).unwrap().into_iter().map(|one| (one.labels, (one.ledger, one.last_seen))).collect();
        assert_eq!(found, hosts, "seed {}, {window:?}", self.seed);
    }

    /// One pass for several hosts finds what a question for each does.
    fn compare_by_host(&self, store: &dyn Store, selection: &Selection) {
        let hosts = ["b", "nobody", "a"];
        let found = store.merged_by_host(selection, &hosts).unwrap();
        assert_eq!(found.len(), hosts.len());
        for (host, found) in hosts.into_iter().zip(found) {
            let one = Selection { selector: selection.selector.clone().with_equal("host", host), ..selection.clone() };
            let sums: Sums =
                found.merged.values().map(|(id, value)| (describe(&found.merged.tables, id), (value.weight, value.samples))).collect();
            assert_eq!(sums, stored_sums(store, &one), "seed {}, {one:?}", self.seed);
            assert_eq!(found.completeness.samples, store.merged(&one).unwrap().completeness.samples);
        }
    }

    /// Hosts are there in the steps that hold one of their ledgers.
    fn compare_reported(&self, store: &dyn Store, window: Window, step: u64) {
        let Some(found) = store.reported(window, step).unwrap() else { return };
        let mut wanted: BTreeMap<String, Vec<bool>> = BTreeMap::new();
        for (batch, place) in self.inside(window, true) {
            let there = wanted.entry(batch.labels.get("host").to_owned());
            let there = there.or_insert_with(|| vec![false; window.duration().div_ceil(step) as usize]);
            there[((place.0 - window.from.0) / step) as usize] = true;
        }
        assert_eq!(found, wanted, "seed {}, {window:?} {step}", self.seed);
    }

    /// Asks random questions.
    pub(crate) fn compare(&self, store: &dyn Store, random: &mut Random, now: Timestamp) {
        for _ in 0..self.questions {
            let selection = self.selection(random, now);
            self.compare_merged(store, &selection);
        }
        for _ in 0..self.questions.div_ceil(3) {
            let step = random.pick(&[7 * SECOND, MINUTE, HOUR, 10_000 * SECOND]);
            let mut selection = self.selection(random, now);
            let most = selection.window.from.saturating_add(step * 1000);
            selection.window.to = selection.window.to.min(most);
            self.compare_series(store, &selection, random.pick(&["version", "host"]), step);
            self.compare_by_host(store, &selection);
            self.compare_reported(store, selection.window, step);
            self.compare_catalog(store, selection.window);
        }
    }

    fn selection(&self, random: &mut Random, now: Timestamp) -> Selection {
        let mut edge = || {
            let batch = &self.batches[random.below(self.batches.len() as u64) as usize];
            let near = Timestamp(batch.window.from.0 + random.below(2 * HOUR) - HOUR);
            random.pick(&[
                Timestamp(0),
                near,
                near.align_down(SECOND),
                near.align_down(MINUTE),
                near.align_down(HOUR),
                near.align_down(DAY),
                batch.window.from,
                batch.window.from.saturating_add(1),
                now,
                Timestamp(u64::MAX),
            ])
        };
        let (a, b) = (edge(), edge());
        let selector = random.pick(&[
            "",
            r#"{service="api"}"#,
            r#"{service="nobody"}"#,
            r#"{service!="web",version=~"2|"}"#,
            r#"{host=~"a|b",pid!="1"}"#,
            r#"{service="api",host="a"}"#,
        ]);
        let profile_type = random.pick(&["cpu", "cpu", "alloc_space"]).to_owned();
        Selection { window: Window::new(a.min(b), a.max(b)), profile_type, selector: selector.parse().unwrap() }
    }
}

const fn batch_from(batch: &Batch) -> Timestamp {
    batch.window.from
}

fn is_merged(selection: &Selection) -> bool {
    selection.selector.labels().all(|label| matches!(label, "service" | "version"))
}

/// How many seeds: `FLAMEKEEPER_MODEL_SEEDS`, or a few.
fn seeds(few: u64) -> std::ops::Range<u64> {
    let seeds = std::env::var("FLAMEKEEPER_MODEL_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let first = std::env::var("FLAMEKEEPER_MODEL_FIRST").ok().and_then(|first| first.parse().ok()).unwrap_or(1);
    first..first + seeds.unwrap_or(few)
}

/// Over three weeks of a clock that goes on, batches come in time, late, twice and too late; the store is derived, cut down and
/// reopened in between: whatever is asked, the answer is that of brute force, and each batch counts once.
pub(crate) fn answers_equal_brute_force<S: Subject>() {
    for seed in seeds(S::SEEDS.div_ceil(2)) {
        let mut random = Random::new(seed);
        let mut subject = S::start(StoreLimits::default(), RETENTION);
        let mut model = Model { batches: Vec::new(), kept: Retained::default(), seed, questions: S::QUESTIONS };
        let mut now = Timestamp(START);
        let mut sent: Vec<(u64, Batch)> = Vec::new();
        for step in 0..260 {
            now = now.saturating_add(random.pick(&[10 * SECOND, 70 * SECOND, 20 * MINUTE, HOUR, 5 * HOUR, 8 * HOUR]));
            let late = random.pick(&[0, 0, 0, 20 * SECOND, 5 * MINUTE, 2 * HOUR, 20 * HOUR, 3 * DAY]);
            let made = batch_at(&mut random, now.saturating_sub(late).align_down(10 * SECOND).saturating_add(late % 7));
            match subject.store().append(&id("a", step), made.clone()) {
                Ok(appended) => assert_eq!(appended, Appended::Accepted),
                Err(error) => assert!(matches!(error, StoreError::Expired { .. }) && made.window.from < model.kept.hour_from, "{error}"),
            }
            if made.window.from >= model.kept.hour_from {
                model.batches.push(made.clone());
                sent.push((step, made));
            }
            let (number, again) = &sent[random.below(sent.len() as u64) as usize];
            if again.window.from.0 + RETENTION.raw > now.0 {
                assert_eq!(subject.store().append(&id("a", *number), again.clone()).unwrap(), Appended::Duplicate);
            }
            match random.below(24) {
                0..6 => subject.roll_up(now),
                6 => model.kept = subject.retain(now),
                7 => subject.reopen(),
                8 | 9 => model.compare(subject.store(), &mut random, now),
                _ => {}
            }
        }
        model.kept = subject.retain(now);
        model.compare(subject.store(), &mut random, now);
        assert!(model.kept.hour_from > Timestamp(START), "seed {seed}: the clock went too little for every floor to rise");
        subject.roll_up(now.saturating_add(HOUR));
        model.compare(subject.store(), &mut random, now);
        let status = subject.store().status().unwrap();
        assert_eq!((status.lacking, status.batches as usize), (0, sent.len()), "nothing is left to be derived");
    }
}
