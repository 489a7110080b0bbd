//! A small profile whose truth is written down here, and random ones.
#![allow(dead_code)] // Each test program uses a part of it.

use std::sync::Arc;

use flamekeeper_collector::query::{Profile, SymbolizedProfile};
use flamekeeper_profile::{
    BuildId, BuildIdKind, Completeness, FrameKind, Line, Location, LocationId, LossReason, Merged, ObjectId, SampleType, StackEnd,
    StopReason, Svma, Timestamp, UnnamedReason, Window,
};
use flamekeeper_symbolizer::{SymbolFrame, Symbolize, Symbolized};

pub(crate) const PERIOD: u64 = 10_000_000;
pub(crate) const API_ID: [u8; 4] = [0xab, 0xcd, 0x01, 0x02];

/// Symbols of the object with [`API_ID`]; every other object has none.
#[derive(Debug)]
pub(crate) struct Names;

impl Symbolize for Names {
    fn symbolize(&self, id: Option<&BuildId>, _path: &str, address: Svma) -> Symbolized {
        match id {
            None => return Symbolized::Unknown(UnnamedReason::NoBuildId),
            Some(id) if id.bytes() != API_ID => return Symbolized::Unknown(UnnamedReason::NoSymbols),
            Some(_) => {}
        }
        let frame = |function: &str, line, inlined| {
            Arc::new(SymbolFrame { function: function.into(), start_line: 0, file: "src/main.rs".into(), line, inlined })
        };
        match address.0 {
            0x1000 => Symbolized::Frames([frame("main", 10, false)].into()),
            0x1010 => Symbolized::Frames([frame("main", 12, false)].into()),
            // An inlined chain: `leaf` within `middle` within `serve`.
            0x2000 => {
                Symbolized::Frames([frame("api::leaf<T>", 30, true), frame("api::middle", 40, true), frame("api::serve", 50, false)].into())
            }
            0x3000 => Symbolized::Frames([frame("recurse", 60, false)].into()),
            0x3010 => Symbolized::Frames([frame("recurse", 62, false)].into()),
            other if other >= 0x10_0000 => Symbolized::Frames([frame(&format!("function_{other:x}"), 1, false)].into()),
            _ => Symbolized::Unknown(UnnamedReason::NotCovered),
        }
    }
}

pub(crate) struct Builder {
    pub(crate) merged: Merged,
    pub(crate) api: ObjectId,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let mut merged = Merged::new();
        let id = BuildId::new(BuildIdKind::Gnu, &API_ID).unwrap();
        let api = merged.tables.intern_object(Some(id), "/usr/bin/api");
        Self { merged, api }
    }

    pub(crate) fn api(&mut self, address: u64) -> LocationId {
        self.merged.tables.intern_address(FrameKind::Native, Some(self.api), Svma(address))
    }

    pub(crate) fn named(&mut self, kind: FrameKind, lines: &[(&str, &str, u32)]) -> LocationId {
        let line = |(function, file, line): &(&str, &str, u32)| Line {
            function: self.merged.tables.intern_string(function),
            file: self.merged.tables.intern_string(file),
            line: *line,
        };
        let lines: Box<[Line]> = lines.iter().map(line).collect();
        self.merged.tables.intern_location(Location { kind, object: None, address: Svma(0), lines })
    }

    /// Adds samples of a stack, leaf first.
    pub(crate) fn add(&mut self, locations: &[LocationId], end: StackEnd, samples: u64) {
        let stack = self.merged.tables.intern_stack(locations, end);
        self.merged.add(stack, &SampleType::cpu(PERIOD), samples);
    }

    pub(crate) fn profile(self) -> Profile {
        let mut completeness = Completeness::default();
        completeness.ledger.take(100);
        completeness.ledger.lose(LossReason::RingFull, 3);
        let window = Window::new(Timestamp(1_764_000_000_000_000_000), Timestamp(1_764_000_900_000_000_000));
        Profile { merged: self.merged, profile_type: "cpu".into(), unit: "nanoseconds".into(), window, completeness }
    }

    pub(crate) fn symbolized(self) -> SymbolizedProfile {
        self.profile().symbolize(&Names)
    }
}

/// Samples, stack (root first):
///
/// - 5 `main > api::serve > api::middle (inlined) > api::leaf<T> (inlined)`
/// - 2 `main > recurse > recurse > recurse`
/// - 1 `main` (at another line)
/// - 4 `main > libc.so.6+0x77 > vfs_read (kernel)`
/// - 3 `[truncated: copy_exhausted] > recurse`
/// - 1 `[truncated: no_user_stack]`
/// - 2 `app.py:run (python) > api+0x9999`
pub(crate) fn known() -> SymbolizedProfile {
    let mut builder = Builder::new();
    let [main, main_other, serve, recurse, recurse_other, bare] =
        [0x1000, 0x1010, 0x2000, 0x3000, 0x3010, 0x9999].map(|at| builder.api(at));
    let id = BuildId::new(BuildIdKind::Gnu, &[9; 20]).unwrap();
    let libc = builder.merged.tables.intern_object(Some(id), "/lib/x86_64-linux-gnu/libc.so.6");
    let libc = builder.merged.tables.intern_address(FrameKind::Native, Some(libc), Svma(0x77));
    let kernel = builder.merged.tables.intern_object(None, "[kernel]");
    let kernel = builder.merged.tables.intern_named(FrameKind::Kernel, Some(kernel), Svma(0xffff_ffff_8100_0000), "vfs_read");
    let python = builder.named(FrameKind::Cpython, &[("run", "app.py", 7)]);
    builder.add(&[serve, main], StackEnd::Root, 5);
    builder.add(&[recurse, recurse_other, recurse, main], StackEnd::Root, 2);
    builder.add(&[main_other], StackEnd::Root, 1);
    builder.add(&[kernel, libc, main], StackEnd::Root, 4);
    builder.add(&[recurse], StackEnd::Truncated(StopReason::CopyExhausted), 3);
    builder.add(&[], StackEnd::Truncated(StopReason::NoUserStack), 1);
    builder.add(&[bare, python], StackEnd::Unstated, 2);
    builder.symbolized()
}

/// xorshift64*: the same numbers for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

/// `stacks` distinct-ish stacks `depth` deep that share their root sides as real ones do.
pub(crate) fn random(seed: u64, stacks: u64, depth: u64) -> Builder {
    let mut random = Random(seed);
    let mut builder = Builder::new();
    for _ in 0..stacks {
        let mut locations: Vec<LocationId> = Vec::new();
        for level in 0..depth {
            // Few ways near the root, more towards the leaf; a function has the same address wherever it is called from.
            let ways = 1 + level * level / (depth / 2 + 1) / 4;
            let address = 0x10_0000 + level * 0x400 + random.below(ways + 1) * 0x10;
            locations.push(builder.api(address));
        }
        locations.reverse();
        let end = if random.below(20) == 0 { StackEnd::Truncated(StopReason::BadFrame) } else { StackEnd::Root };
        let samples = 1 + random.below(4) * random.below(50);
        builder.add(&locations, end, samples);
    }
    builder
}
