//! The verdict about leaks: the same from windows as they came and from what they were merged into.

use flamekeeper_collector::leaks::{Blind, Found, Question, blind, find, killed};
use flamekeeper_collector::store::{Retention, Store, StoreLimits};
use flamekeeper_profile::leaks::{AgeClass, Blindness, Survived, Verdict};
use flamekeeper_profile::{
    AgentFigures, Batch, FrameKind, Labels, Ledger, SampleType, Series, StackEnd, StackId, Svma, Tables, Timestamp, Window,
};

use super::Subject;
use super::tiers::{DAY, MINUTE};
use crate::store_fixture::{START, id};

/// Counts of one stack in a window: blocks that became old, those freed, and those that are old.
type Counts = (&'static str, u64, u64, u64);

/// Length of a window, and how many there are: an hour.
const STEP: u64 = 2 * MINUTE;
const WINDOWS: u64 = 30;
/// What a block stands for.
const BYTES: u64 = 1 << 20;

fn stack(tables: &mut Tables, name: Option<&str>, age: u64) -> StackId {
    let class = AgeClass::of(age * 1_000_000_000).unwrap().to_string();
    let names = name.into_iter().chain(name.map(|_| "main")).chain([class.as_str()]);
    let locations: Vec<_> = names.map(|name| tables.intern_named(FrameKind::Other, None, Svma(0), name)).collect();
    tables.intern_stack(&locations, StackEnd::Root)
}

/// What an agent sends of one process's heap in a window. Blocks become old at 512 s, and die and live at 1024 s.
fn series(tables: &mut Tables, labels: &Labels, counts: &[Counts]) -> Vec<Series> {
    let mut values: [Vec<(StackId, u64)>; Survived::ALL.len()] = Default::default();
    for (name, reached, freed, old) in counts {
        let [became, older] = [512, 1024].map(|age| stack(tables, Some(name), age));
        values[0].push((became, *reached));
        values[1].push((became, *reached * BYTES));
        values[2].push((older, *freed));
        values[3].push((older, *old * STEP / 1_000_000));
    }
    values[4].push((stack(tables, None, 100_000), STEP / 1_000_000));
    let all = Survived::ALL.into_iter().zip(values);
    let series = all.map(|(what, values)| Series {
        labels: labels.clone(),
        sample_type: SampleType::plain(what.as_str(), what.unit()),
        values: values.into_iter().filter(|(_, value)| *value > 0).collect(),
    });
    series.filter(|series| !series.values.is_empty()).collect()
}

/// One window of two processes of the new version, which leaks, and one of the old.
fn window(number: u64) -> Batch {
    let mut tables = Tables::new();
    let labels = |version: &str, pid: &str| {
        let labels = Labels::new().with("host", "web-1").with("service", "api").with("version", version);
        labels.with("pid", pid)
    };
    let cache = ("cache", 4, 4, 30);
    let mut all = Vec::new();
    for pid in ["1", "2"] {
        all.extend(series(&mut tables, &labels("1.5", pid), &[("grow", 2, 0, 2 * number + 1), cache]));
    }
    all.extend(series(&mut tables, &labels("1.4", "3"), &[cache]));
    if number == WINDOWS - 1 {
        let last = stack(&mut tables, Some("grow"), 512);
        let labels = labels("1.5", "2").with("ended", "killed");
        all.push(Series { labels, sample_type: SampleType::plain("inuse_space", "bytes"), values: vec![(last, 77 * BYTES)] });
    }
    // Of a process that is sampled, one that is not, and one of a service whose own profiles are scraped.
    let unseen = [("api", "1.5", Blindness::Python), ("gate", "7", Blindness::Go), ("cache", "", Blindness::LinkedJemalloc)];
    for (service, version, kind) in unseen {
        let labels = Labels::new().with("host", "web-1").with("service", service).with("version", version).with("pid", "9");
        let values = vec![(stack(&mut tables, Some(kind.as_str()), 512), 1)];
        all.push(Series { labels, sample_type: SampleType::plain(&kind.type_name(), "count"), values });
    }
    let labels = Labels::new().with("host", "web-1").with("service", "cache").with("heap.source", "pprof");
    let values = vec![(stack(&mut tables, Some("scraped"), 512), BYTES)];
    all.push(Series { labels, sample_type: SampleType::plain("inuse_space", "bytes"), values });
    let from = Timestamp(START + number * STEP);
    Batch {
        window: Window::new(from, from.saturating_add(STEP)),
        labels: Labels::new().with("host", "web-1"),
        tables,
        series: all,
        ledger: Ledger::new(),
        figures: AgentFigures::default(),
    }
}

fn ask(store: &dyn Store) -> (Found, Vec<String>) {
    let window = Window::new(Timestamp(START - 10 * MINUTE), Timestamp(START + 70 * MINUTE));
    let question = Question { window, service: "api".into(), horizon: 3600.0 };
    let found = find(store, &question).unwrap();
    let leaf = |stack: StackId| {
        let location = found.tables.location(found.tables.stack(stack).unwrap().locations[0]).unwrap();
        found.tables.string(location.lines[0].function).to_owned()
    };
    let told = found.suspects.iter().map(|suspect| {
        let version = &found.groups[suspect.group].version;
        format!("{} {version} {} {}", leaf(suspect.stack), suspect.forecast.verdict.as_str(), suspect.forecast.evidence)
    });
    let mut told: Vec<_> = told.collect();
    // Those that are equally grave are in the order of their handles.
    told[1..].sort();
    (found, told)
}

/// Two processes of a version leak at one of two sites, the version before did not; nothing is lost when windows are merged.
pub(crate) fn leaks_in_all_tiers<S: Subject>() {
    let retention = Retention { raw: DAY, minute: 30 * DAY, hour: 300 * DAY, bytes: u64::MAX };
    let subject = S::start(StoreLimits::default(), retention);
    for number in 0..WINDOWS {
        subject.store().append(&id("agent", number), window(number)).unwrap();
    }
    let (found, raw) = ask(subject.store());
    let groups: Vec<_> = found.groups.iter().map(|group| (&*group.version, group.age, group.processes.round() as u64)).collect();
    assert_eq!(groups, [("1.5", Some(512), 2), ("1.4", Some(512), 1)]);
    assert_eq!(found.suspects.len(), 3, "{raw:?}");
    let leak = &found.suspects[0].forecast;
    assert!(raw[0].starts_with("grow 1.5 leaks 120 sampled blocks reached the age of 9 min, none was freed after it: +"), "{raw:?}");
    let hourly = (120 * BYTES) as f64;
    assert!((leak.growth / hourly - 1.0).abs() < 0.1 && leak.low < hourly && leak.high > hourly, "{leak:?}");
    assert!(found.suspects[1..].iter().all(|suspect| suspect.forecast.verdict == Verdict::LevelsOff), "{raw:?}");
    let question = |service: &str| {
        let window = Window::new(Timestamp(START), Timestamp(START + 60 * MINUTE));
        Question { window, service: service.into(), horizon: 3600.0 }
    };
    let of = |service: &str, version: &str, (sampled, scraped): (bool, bool), kind| Blind {
        service: service.into(),
        version: version.into(),
        sampled,
        scraped,
        kinds: vec![kind],
    };
    let (told, left_out) = blind(subject.store(), &question("")).unwrap();
    let known = [of("api", "1.5", (true, false), Blindness::Python), of("cache", "", (false, true), Blindness::LinkedJemalloc)];
    assert_eq!((&told[..2], told.len(), left_out), (&known[..], 3, 0));
    assert_eq!(blind(subject.store(), &question("gate")).unwrap().0, [of("gate", "7", (false, false), Blindness::Go)]);
    let dead = killed(subject.store(), &question("")).unwrap();
    assert_eq!((dead.len(), dead[0].labels.get("pid"), dead[0].bytes), (1, "2", 77 * BYTES));
    let at = dead[0].at.unwrap();
    assert!((Timestamp(START + 58 * MINUTE)..Timestamp(START + 60 * MINUTE)).contains(&at.from), "{at:?}");
    assert!(killed(subject.store(), &question("other")).unwrap().is_empty());
    assert!(find(subject.store(), &question("other")).unwrap().groups.is_empty());
    let later = Timestamp(START + 3 * DAY);
    subject.roll_up(later);
    assert!(subject.retain(later).raw_from > Timestamp(START + 60 * MINUTE));
    assert_eq!(ask(subject.store()).1, raw);
    let merged = blind(subject.store(), &question("gate")).unwrap().0;
    assert_eq!(merged, [of("gate", "7", (false, false), Blindness::Go)]);
}
