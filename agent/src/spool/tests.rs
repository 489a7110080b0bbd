use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use flamekeeper_profile::{AgentFigures, FrameKind, Labels, SampleType, Series, StackEnd, Svma, Tables, Timestamp, Window, label};

/// Makes the disk fail: after this many steps, for good (a crash leaves the disk as it is then).
#[derive(Debug)]
pub(super) struct Faults {
    left: AtomicI64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { left: AtomicI64::new(i64::MAX) }
    }
}

impl Faults {
    pub(super) fn step(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) > 0 { Ok(()) } else { Err(io::Error::from(io::ErrorKind::StorageFull)) }
    }

    /// A write that fails leaves half of what it wrote.
    pub(super) fn torn(&self, file: &mut File, content: &[u8]) -> io::Result<()> {
        self.step().inspect_err(|_| file.write_all(&content[..content.len() / 2]).unwrap())
    }

    pub(super) fn fail_after(&self, steps: i64) {
        self.left.store(steps, Ordering::Relaxed);
    }
}

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(1) };
}

fn random(below: u64) -> u64 {
    // xorshift64*: enough for a test, and the same every time.
    SEED.with(|seed| {
        let mut x = seed.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        seed.set(x);
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    })
}

/// A real batch of `taken` samples, of which `lost` were lost in the ring.
pub(crate) fn batch(taken: u64, lost: u64) -> Batch {
    let mut tables = Tables::new();
    let object = tables.intern_object(None, "/bin/x");
    // The address differs from batch to batch, so that sizes do too.
    let locations: Vec<_> =
        (0..taken % 50 + 1).map(|n| tables.intern_address(FrameKind::Native, Some(object), Svma(taken * 977 + n * 131))).collect();
    let stack = tables.intern_stack(&locations, StackEnd::Root);
    let mut ledger = Ledger::new();
    ledger.take(taken);
    ledger.lose(LossReason::RingFull, lost);
    let labels = Labels::new().with(label::HOST, "web-1");
    let series =
        Series { labels: labels.clone().with(label::SERVICE, "api"), sample_type: sample_type(), values: vec![(stack, taken - lost)] };
    Batch {
        window: Window::new(Timestamp(1_000_000_000), Timestamp(2_000_000_000)),
        labels,
        tables,
        series: vec![series],
        ledger,
        figures: AgentFigures::default(),
    }
}

fn sample_type() -> SampleType {
    SampleType::cpu(52_631_579)
}

/// The collector's side: every batch once, by identity, with its ledger.
#[derive(Default)]
struct Collector {
    got: BTreeMap<(String, u64), Vec<u8>>,
}

impl Collector {
    fn receive(&mut self, stored: &Stored) {
        let key = (stored.id.agent.to_string(), stored.id.sequence);
        // An identity is never given to two different batches.
        let earlier = self.got.entry(key).or_insert_with(|| stored.body.clone());
        assert_eq!(*earlier, stored.body, "{} was used twice", stored.id);
    }

    /// The sum of what arrived. Samples taken are those stored and those lost, exactly.
    fn ledger(&self) -> Ledger {
        let mut sum = Ledger::new();
        let mut stored = 0;
        for body in self.got.values() {
            let bytes = gzip::decompress(body, 64 << 20).unwrap();
            let batch = flamekeeper_wire::decode(&bytes, &flamekeeper_wire::Limits::default()).unwrap();
            stored += batch.samples();
            sum.add(&batch.ledger);
        }
        assert_eq!(sum.taken, stored + sum.lost_total());
        sum
    }
}

/// A child that another test of this process has forked and that has not called execve yet holds a copy of the lock that was
/// just given up: wait for it.
fn open(dir: &Path, cap: u64) -> Spool {
    for _ in 0..500 {
        match Spool::open(dir, cap, "") {
            Err(OpenSpoolError::InUse { .. }) => std::thread::sleep(std::time::Duration::from_millis(10)),
            opened => return opened.unwrap(),
        }
    }
    panic!("the spool's lock was held for five seconds");
}

fn drain(spool: &Spool, collector: &mut Collector) {
    while let Some(stored) = spool.oldest() {
        collector.receive(&stored);
        spool.accepted(&stored.id).unwrap();
    }
}

/// What was pushed comes out in order, once, across a restart, under one agent id.
#[test]
fn first_in_first_out_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 1 << 20);
    let agent = spool.agent();
    let ids: Vec<_> = (1..=3).map(|taken| spool.push(batch(taken, 0)).unwrap()).collect();
    assert_eq!(spool.oldest().unwrap().id, ids[0]);
    spool.accepted(&ids[0]).unwrap();
    let locked = Spool::open(dir.path(), 1 << 20, "").unwrap_err();
    assert!(locked.to_string().contains("in use by another agent"), "{locked}");
    drop(spool);
    let spool = open(dir.path(), 1 << 20);
    assert_eq!(spool.agent(), agent);
    assert_eq!(spool.oldest().unwrap().id, ids[1]);
    let next = spool.push(batch(4, 0)).unwrap();
    assert!(next.sequence > ids[2].sequence);
    assert_eq!(spool.stats().batches, 3);
}

/// A copied disk on another machine speaks under another name, and still ships what it holds.
#[test]
fn another_machine_gets_another_id() {
    let dir = tempfile::tempdir().unwrap();
    let first = Spool::open(dir.path(), 1 << 20, "aa").unwrap();
    let id = first.push(batch(1, 0)).unwrap();
    drop(first);
    let second = Spool::open(dir.path(), 1 << 20, "bb").unwrap();
    assert_ne!(second.agent(), id.agent);
    assert_eq!(second.oldest().unwrap().id, id);
    assert_ne!(second.push(batch(2, 0)).unwrap().agent, id.agent);
}

/// Over the cap the oldest goes first, but not the one that may have arrived; its samples come with a later batch.
#[test]
fn cap_counts_what_it_drops() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 4000);
    let mut collector = Collector::default();
    let first = spool.push(batch(10, 1)).unwrap();
    // The collector has it, but its answer was lost.
    collector.receive(&spool.oldest().unwrap());
    for _ in 0..20 {
        spool.push(batch(10, 1)).unwrap();
        assert!(spool.stats().bytes <= 4000);
    }
    assert_eq!(spool.oldest().unwrap().id, first);
    drop(spool);
    let spool = open(dir.path(), 4000);
    drain(&spool, &mut collector);
    spool.push(batch(10, 1)).unwrap();
    drain(&spool, &mut collector);
    let ledger = collector.ledger();
    assert_eq!((ledger.taken, ledger.lost(LossReason::RingFull)), (220, 22));
    assert!(ledger.lost(LossReason::SpoolFull) > 0);
    assert_eq!(ledger.lost(LossReason::SpoolFull) % 9, 0);
    assert_eq!(spool.stats().owed, Ledger::new());
}

/// A batch larger than the cap is counted, and the spool goes on.
#[test]
fn too_large_for_the_cap() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 100);
    assert!(matches!(spool.push(batch(5, 0)), Err(PushError::TooLarge { .. })));
    assert_eq!(spool.stats().owed.lost(LossReason::SpoolFull), 5);
}

/// Files damaged in any way are set aside and counted, with the count from their name; the rest ships.
#[test]
fn damaged_files_are_counted() {
    for cut in [0, 3, 20, 60, 200] {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(dir.path(), 1 << 20);
        let ids: Vec<_> = (1..=3).map(|taken| spool.push(batch(taken * 10, 0)).unwrap()).collect();
        let names = || std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        let of = |taken: &str| names().into_iter().find(|path| path.to_string_lossy().ends_with(&format!("-{taken}.batch"))).unwrap();
        // One is damaged while the spool is open, one while it is not.
        let bytes = std::fs::read(of("10")).unwrap();
        std::fs::write(of("10"), &bytes[..cut.min(bytes.len() - 1)]).unwrap();
        assert_eq!(spool.oldest().unwrap().id, ids[1]);
        drop(spool);
        let mut bytes = std::fs::read(of("30")).unwrap();
        let place = bytes.len() - 1 - cut.min(bytes.len() - 1);
        bytes[place] ^= 1;
        std::fs::write(of("30"), &bytes).unwrap();
        let spool = open(dir.path(), 1 << 20);
        let mut collector = Collector::default();
        drain(&spool, &mut collector);
        spool.push(batch(1, 0)).unwrap();
        drain(&spool, &mut collector);
        let ledger = collector.ledger();
        assert_eq!((ledger.taken, ledger.lost(LossReason::SpoolCorrupt)), (61, 40), "cut at {cut}");
        assert_eq!(names().iter().filter(|path| path.to_string_lossy().ends_with(".corrupt")).count(), 2);
    }
}

/// A damaged state file costs the agent its id, never the batches.
#[test]
fn damaged_state() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 1 << 20);
    let id = spool.push(batch(1, 0)).unwrap();
    drop(spool);
    std::fs::write(dir.path().join("state.json"), b"{\"version\":1,").unwrap();
    let spool = open(dir.path(), 1 << 20);
    assert_ne!(spool.agent(), id.agent);
    assert_eq!(spool.oldest().unwrap().id, id);
}

/// A disk that refuses for a while costs the batches of that while, counted, and nothing else.
#[test]
fn full_disk_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 1 << 20);
    let mut collector = Collector::default();
    spool.push(batch(10, 0)).unwrap();
    spool.lock().directory.faults.fail_after(0);
    for _ in 0..3 {
        assert!(matches!(spool.push(batch(10, 2)), Err(PushError::Unwritable(_))));
    }
    spool.count_unwritten(&batch(7, 0).ledger);
    spool.lock().directory.faults.fail_after(i64::MAX);
    spool.push(batch(10, 0)).unwrap();
    drain(&spool, &mut collector);
    let ledger = collector.ledger();
    assert_eq!((ledger.taken, ledger.lost(LossReason::SpoolUnwritable), ledger.lost(LossReason::RingFull)), (57, 31, 6));
}

/// What the collector refuses for good is counted with its reason.
#[test]
fn refusal_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 1 << 20);
    let mut collector = Collector::default();
    let id = spool.push(batch(10, 2)).unwrap();
    spool.refused(&id).unwrap();
    drop(spool);
    let spool = open(dir.path(), 1 << 20);
    spool.push(batch(5, 0)).unwrap();
    drain(&spool, &mut collector);
    let ledger = collector.ledger();
    assert_eq!((ledger.taken, ledger.lost(LossReason::Refused), ledger.lost(LossReason::RingFull)), (15, 8, 2));
}

/// One random action.
fn act(spool: &Spool, collector: &mut Collector, pushed: &mut (u64, u64)) {
    match random(10) {
        0..=4 => {
            let (taken, lost) = (random(60) + 1, random(2));
            // `pushed` has what certainly counts, and what may: a push cut short by a crash is known to nobody.
            match spool.push(batch(taken, lost.min(taken))) {
                Ok(_) => pushed.0 += taken,
                Err(_) => pushed.1 += taken,
            }
        }
        5..=7 => {
            if let Some(stored) = spool.oldest() {
                collector.receive(&stored);
                // The answer may be lost on its way: the batch is then sent again.
                if random(4) > 0 {
                    _ = spool.accepted(&stored.id);
                }
            }
        }
        8 => {
            // A collector refuses what it has not stored.
            if let Some(stored) = spool.oldest()
                && !collector.got.contains_key(&(stored.id.agent.to_string(), stored.id.sequence))
            {
                _ = spool.refused(&stored.id);
            }
        }
        _ => drop(spool.flush()),
    }
}

/// The model: whatever the order of pushes, sends, lost answers, refusals and crashes at any step of the disk, every
/// sample of a push that returned is at the collector, or counted as lost there, exactly once.
#[test]
fn crash_at_any_step_counts_each_sample_once() {
    for seed in 1..=400 {
        SEED.with(|cell| cell.set(seed * 0x9e37_79b9));
        // In memory where there is such a place: it is the order of steps that is tested, not the disk's patience.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let mut collector = Collector::default();
        let mut pushed = (0, 0);
        let cap = if random(2) == 0 { 3000 } else { 1 << 20 };
        for _ in 0..6 {
            let spool = open(dir.path(), cap);
            let crash = i64::try_from(random(60)).unwrap();
            spool.lock().directory.faults.fail_after(crash);
            while spool.lock().directory.faults.left.load(Ordering::Relaxed) > 0 {
                act(&spool, &mut collector, &mut pushed);
            }
        }
        let spool = open(dir.path(), cap);
        for _ in 0..2 {
            drain(&spool, &mut collector);
            spool.push(batch(1, 0)).unwrap();
            pushed.0 += 1;
        }
        drain(&spool, &mut collector);
        assert_eq!(spool.stats().owed, Ledger::new());
        let ledger = collector.ledger();
        let (least, most) = (pushed.0, pushed.0 + pushed.1);
        assert!((least..=most).contains(&ledger.taken), "seed {seed}: {} not in {least}..={most}", ledger.taken);
    }
}
