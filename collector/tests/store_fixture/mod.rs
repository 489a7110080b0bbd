//! Random batches, and the plain truth about them.
#![allow(dead_code)] // Each test program uses a part of it.

use std::collections::BTreeMap;

use flamekeeper_collector::store::{Appended, EmbeddedStore, Selection, Store, StoreLimits};
use flamekeeper_profile::{
    AgentFigures, Batch, BuildId, BuildIdKind, FrameKind, Labels, Ledger, Line, Location, LossReason, SampleType, Series, StackEnd,
    StackId, StopReason, Svma, Tables, Timestamp, Window,
};
use flamekeeper_wire::BatchId;

pub(crate) const SECOND: u64 = Timestamp::SECOND;
/// The start of all fixtures' time.
pub(crate) const START: u64 = 1_764_000_000 * SECOND;

/// Random numbers (xorshift64*), the same for the same seed.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A directory in memory where the system has one: these tests are about what is stored, not about the disk, and sync often.
pub(crate) fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub(crate) fn open(folder: &std::path::Path) -> EmbeddedStore {
    EmbeddedStore::open(folder, StoreLimits::default()).unwrap()
}

/// The engine of a store, to do to it what nobody should; without the seal by which that would be told.
pub(crate) fn engine(folder: &std::path::Path) -> fjall::Database {
    _ = std::fs::remove_file(folder.join("sealed"));
    fjall::Database::builder(folder).open().unwrap()
}

pub(crate) fn id(agent: &str, sequence: u64) -> BatchId {
    format!("{agent}-{sequence}").parse().unwrap()
}

pub(crate) fn stack(random: &mut Random, tables: &mut Tables) -> StackId {
    let end = random.pick(&[
        StackEnd::Root,
        StackEnd::Root,
        StackEnd::Unstated,
        StackEnd::Truncated(StopReason::CopyExhausted),
        StackEnd::Truncated(StopReason::NoUserStack),
    ]);
    let depth = random.below(6);
    let locations: Vec<_> = (0..depth).map(|_| location(random, tables)).collect();
    tables.intern_stack(&locations, end)
}

fn location(random: &mut Random, tables: &mut Tables) -> flamekeeper_profile::LocationId {
    let number = random.below(20);
    let build_id = BuildId::new(random.pick(&[BuildIdKind::Gnu, BuildIdKind::Go, BuildIdKind::Htlhash]), &[7; 20]).unwrap();
    let object = match number % 4 {
        0 => None,
        1 => Some(tables.intern_object(None, "[vdso]")),
        _ => Some(tables.intern_object(Some(build_id), random.pick(&["/usr/lib/libc.so.6", "/opt/ä/bin", ""]))),
    };
    let mut lines = Vec::new();
    for _ in 0..number % 3 {
        let function = tables.intern_string(random.pick(&["schedule", "main", "λ"]));
        let file = tables.intern_string(random.pick(&["", "a.rs"]));
        lines.push(Line { function, file, line: number as u32 });
    }
    let kind = random.pick(&FrameKind::ALL);
    let address = Svma(random.pick(&[0, 1, 0x1234, u64::MAX]) ^ number);
    tables.intern_location(Location { kind, object, address, lines: lines.into() })
}

pub(crate) fn types() -> [SampleType; 4] {
    [
        SampleType::cpu(50_000_000),
        SampleType::cpu(10_101_010),
        SampleType::plain("alloc_space", "bytes"),
        SampleType::plain("faults", "count"),
    ]
}

/// A batch of one host with up to eight series in a window of the first hour.
pub(crate) fn batch(random: &mut Random) -> Batch {
    let from = Timestamp(START + random.below(360) * 10 * SECOND + random.below(3));
    batch_at(random, from)
}

/// A batch of one host with up to eight series in a window that starts there.
pub(crate) fn batch_at(random: &mut Random, from: Timestamp) -> Batch {
    let host = random.pick(&["a", "b", "c"]);
    let mut tables = Tables::new();
    let mut series = Vec::new();
    for pid in 0..random.below(8) {
        let labels = Labels::new()
            .with("host", host)
            .with("service", random.pick(&["api", "web", "", "ünï"]))
            .with("version", random.pick(&["", "1", "2"]))
            .with("pid", &pid.to_string());
        let mut values = BTreeMap::new();
        for _ in 0..random.below(12) {
            values.insert(stack(random, &mut tables), random.pick(&[1, 2, 300, 1 << 40]));
        }
        let sample_type = random.pick(&[0, 1, 2, 3]);
        series.push(Series { labels, sample_type: types()[sample_type].clone(), values: values.into_iter().collect() });
    }
    let mut ledger = Ledger::new();
    ledger.take(random.below(1000) + 100);
    ledger.lose(random.pick(&LossReason::ALL), random.below(100));
    let labels = Labels::new().with("host", host);
    Batch { window: Window::new(from, from.saturating_add(10 * SECOND)), labels, tables, series, ledger, figures: AgentFigures::default() }
}

/// Batch `number` in a window of a second: three stacks of which one is its own, and a ledger that names it. The golden stores hold such.
pub(crate) fn numbered(number: u64, from: u64) -> Batch {
    let mut tables = Tables::new();
    let mut values = Vec::new();
    for address in [number, 1 << 40, (1 << 40) + number % 7] {
        let location = tables.intern_address(FrameKind::Native, None, Svma(address));
        values.push((tables.intern_stack(&[location], StackEnd::Root), 1));
    }
    values.sort_unstable();
    values.dedup();
    let labels = Labels::new().with("service", &format!("s{}", number % 5)).with("host", "a").with("pid", &(number / 3).to_string());
    let mut ledger = Ledger::new();
    ledger.take(values.len() as u64);
    let series = vec![Series { labels: labels.clone(), sample_type: SampleType::cpu(1), values }];
    let window = Window::new(Timestamp(from), Timestamp(from + SECOND));
    Batch { window, labels, tables, series, ledger, figures: AgentFigures::default() }
}

/// What a stack is, whatever the tables it stands in.
pub(crate) fn describe(tables: &Tables, id: StackId) -> String {
    let stack = tables.stack(id).unwrap();
    let mut text = format!("{:?}", stack.end);
    for location in &stack.locations {
        let location = tables.location(*location).unwrap();
        let object =
            location.object.map(|object| tables.object(object).unwrap()).map(|object| (&object.build_id, tables.string(object.path)));
        let lines: Vec<_> = location.lines.iter().map(|line| (tables.string(line.function), tables.string(line.file), line.line)).collect();
        text += &format!(";{:?} {object:?} {} {lines:?}", location.kind, location.address);
    }
    text
}

/// Sums per stack: weight and samples.
pub(crate) type Sums = BTreeMap<String, (u64, u64)>;

/// The series of a selection, with the batch that each came in.
pub(crate) fn selected<'a>(batches: &'a [Batch], selection: &'a Selection) -> impl Iterator<Item = (&'a Batch, &'a Series)> {
    let inside = |batch: &&Batch| selection.window.contains(batch.window.from);
    let wanted = |series: &Series| series.sample_type.query_name() == selection.profile_type && selection.selector.matches(&series.labels);
    let all = batches.iter().filter(inside).flat_map(|batch| batch.series.iter().map(move |series| (batch, series)));
    all.filter(move |(_, series)| wanted(series) && !series.values.is_empty())
}

pub(crate) fn sums(batches: &[Batch], selection: &Selection) -> Sums {
    let mut sums = Sums::new();
    for (batch, series) in selected(batches, selection) {
        for (stack, value) in &series.values {
            let sum = sums.entry(describe(&batch.tables, *stack)).or_default();
            sum.0 = sum.0.saturating_add(series.sample_type.weigh(*value));
            sum.1 = sum.1.saturating_add(if series.sample_type.is_periodic() { *value } else { 0 });
        }
    }
    sums
}

pub(crate) fn stored_sums(store: &dyn Store, selection: &Selection) -> Sums {
    let found = store.merged(selection).unwrap();
    found.merged.values().map(|(id, value)| (describe(&found.merged.tables, id), (value.weight, value.samples))).collect()
}

pub(crate) fn accept(store: &dyn Store, id: &BatchId, batch: &Batch) {
    assert_eq!(store.append(id, batch.clone()).unwrap(), Appended::Accepted);
}
