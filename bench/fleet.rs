//! A fleet that nobody has: its batches, made from numbers alone, the same at each run. A part of the collector's measurements
//! (`collector/tests/store_cost.rs`).
//!
//! Each host runs 30 services of one process each, on one CPU at 20 Hz; a service has 3,000 stacks of 30 frames, whose
//! frequencies follow Zipf's law (exponent 1). As in a call tree, neighbours share their root side: two differ in their leaf only, four in
//! their last two frames, and so on for twelve frames; what is above these is the same for nearly all.

use flamekeeper_profile::{
    AgentFigures, Batch, BuildId, BuildIdKind, FrameKind, Labels, Ledger, SampleType, Series, StackEnd, StackId, Svma, Tables, Timestamp,
    Window,
};

pub(crate) const SERVICES: u64 = 30;
pub(crate) const STACKS: u64 = 3_000;
pub(crate) const HERTZ: u64 = 20;

/// Random numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Between 0 and 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// All stacks of all services, made once; batches share them.
pub(crate) struct Fleet {
    tables: Tables,
    stacks: Vec<Vec<StackId>>,
}

impl Fleet {
    pub(crate) fn new(services: std::ops::Range<u64>) -> Self {
        let mut tables = Tables::new();
        let mut stacks = vec![Vec::new(); SERVICES as usize];
        for service in services {
            stacks[service as usize] = (0..STACKS).map(|number| stack(&mut tables, service, number)).collect();
        }
        Self { tables, stacks }
    }

    /// The batch of a host in a window, of some services. Of each service only so many of its most frequent stacks.
    pub(crate) fn batch(&self, host: u64, from: Timestamp, seconds: u64, services: std::ops::Range<u64>, stacks: u64) -> (Batch, u64) {
        let labels = Labels::new().with("host", &format!("web-{host}"));
        let mut ledger = Ledger::new();
        let mut all = Vec::new();
        let mut rows = 0;
        for service in services {
            let (series, made) = self.series(host, from, seconds, service, stacks);
            rows += made;
            ledger.take(series.total());
            all.push(series);
        }
        let window = Window::new(from, from.saturating_add(seconds * Timestamp::SECOND));
        (Batch { window, labels, tables: self.tables.clone(), series: all, ledger, figures: AgentFigures::default() }, rows)
    }

    /// A service's series of a host in a window.
    pub(crate) fn series(&self, host: u64, from: Timestamp, seconds: u64, service: u64, stacks: u64) -> (Series, u64) {
        let seed = host * 1_000_003 + from.0 / Timestamp::SECOND * 31 + service;
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let values = self.values(&mut random, service, seconds * HERTZ, stacks);
        let rows = values.len() as u64;
        let labels = Labels::new().with("host", &format!("web-{host}")).with("service", &format!("service-{service}"));
        let labels = labels.with("version", "1.4").with("pid", &(1000 + service).to_string());
        (Series { labels, sample_type: SampleType::cpu(Timestamp::SECOND / HERTZ), values }, rows)
    }

    /// How often each stack of a service is seen: drawn one by one where there are few samples, else the expected number, rounded
    /// at random.
    fn values(&self, random: &mut Random, service: u64, samples: u64, stacks: u64) -> Vec<(StackId, u64)> {
        let mut counts = vec![0_u64; STACKS as usize];
        let scale = (STACKS as f64).ln();
        if samples < STACKS {
            for _ in 0..samples {
                counts[(STACKS as f64).powf(random.share()) as usize - 1] += 1;
            }
        } else {
            for (rank, count) in counts.iter_mut().enumerate() {
                let expected = samples as f64 * ((rank + 2) as f64 / (rank + 1) as f64).ln() / scale;
                *count = (expected + random.share()) as u64;
            }
        }
        let counted = counts.into_iter().take(stacks as usize).zip(&self.stacks[service as usize]);
        counted.filter(|(count, _)| *count > 0).map(|(count, stack)| (*stack, count)).collect()
    }
}

fn stack(tables: &mut Tables, service: u64, number: u64) -> StackId {
    let build_id = BuildId::new(BuildIdKind::Gnu, &[service as u8; 20]).ok();
    let object = tables.intern_object(build_id, "/usr/bin/service");
    let locations: Vec<_> = (0..30_u64)
        .map(|depth| {
            let branch = number >> depth.min(11);
            tables.intern_address(FrameKind::Native, Some(object), Svma(0x1000 + (branch * 31 + depth) % 20_000 * 16))
        })
        .collect();
    tables.intern_stack(&locations, StackEnd::Root)
}
