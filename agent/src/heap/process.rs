//! The live heap of one process.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use flamekeeper_heap::layout::{ENTRIES, ENTRIES_OFFSET, ENTRY_SIZE, RING_OFFSET, RING_SIZE, at};
use flamekeeper_profile::{Location, LocationId, StackEnd, StackId, StopReason, Tables};

use crate::heap::desk::{Told, ToldFrame};
use crate::heap::sum::{Estimate, Sums};
use crate::heap::survival::{self, AgedStacks};
use crate::heap::table::{self, Header, Live, Record, Ring};
use crate::heap::{Loss, Unwind};
use crate::identity::Named;

/// Records that are unwound in one round; a process makes fewer than ten in that time.
const RECORDS_A_ROUND: usize = 64;
/// Stacks that are kept beside those of live samples before they are sorted out.
const SPARE_STACKS: usize = 4096;

type Losses = [u64; Loss::ALL.len()];

/// A process's table, and what has been read of it.
#[derive(Debug)]
pub(crate) struct Heap {
    pid: u32,
    file: File,
    named: Option<Arc<Named>>,
    /// The position up to which the ring was read.
    next: u64,
    /// The number that the next record has.
    number: u64,
    /// What the stacks are made of; they outlive windows.
    tables: Tables,
    /// The stacks of samples that are, or may be, live, by number.
    stacks: HashMap<u64, StackId, foldhash::fast::RandomState>,
    /// What was allocated in this window.
    allocated: HashMap<StackId, Estimate, foldhash::fast::RandomState>,
    /// The live samples at the last look, the header then, and when that was.
    live: Vec<Live>,
    seen: Option<Header>,
    looked: Option<u64>,
    buffer: Vec<u8>,
}

impl Heap {
    pub(crate) fn new(pid: u32, file: File, named: Option<Arc<Named>>) -> Self {
        Self {
            pid,
            file,
            named,
            next: 0,
            number: 0,
            tables: Tables::new(),
            stacks: HashMap::default(),
            allocated: HashMap::default(),
            live: Vec::new(),
            seen: None,
            looked: None,
            buffer: Vec::new(),
        }
    }

    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn named(&self) -> Option<Arc<Named>> {
        self.named.clone()
    }

    pub(crate) fn name(&mut self, named: Arc<Named>) {
        self.named = Some(named);
    }

    /// Bytes that it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let tables = (self.tables.stacks().len() + self.tables.locations().len()) * 128;
        tables + self.stacks.len() * 24 + self.allocated.len() * 32 + self.live.len() * 24 + self.buffer.capacity()
    }

    fn header(&self) -> Option<Header> {
        let mut bytes = [0; at::END];
        self.file.read_exact_at(&mut bytes, 0).ok()?;
        table::header(&bytes).ok()
    }

    /// Unwinds the records that are new, up to `limit` in their time.
    pub(crate) fn read_ring(&mut self, limit: u64, unwind: &mut impl Unwind, lost: &mut Losses, samples: &mut u64) {
        let Some(Header { ring, .. }) = self.header().filter(|header| header.ring.head != self.next) else { return };
        let mut buffer = std::mem::take(&mut self.buffer);
        if let Some(from) = self.copy_ring(ring, &mut buffer) {
            self.next = from;
            self.take_records((&buffer, ring.head), limit, unwind, (lost, samples));
        }
        buffer.clear();
        self.buffer = buffer;
    }

    /// Copies what is new, and answers the position from which on the copy is true.
    fn copy_ring(&self, ring: Ring, buffer: &mut Vec<u8>) -> Option<u64> {
        let begin = if (ring.tail..=ring.head).contains(&self.next) { self.next } else { ring.tail };
        let length = usize::try_from(ring.head - begin).ok()?;
        let start = usize::try_from(begin % RING_SIZE as u64).ok()?;
        let first = length.min(RING_SIZE - start);
        buffer.resize(length, 0);
        self.file.read_exact_at(buffer.get_mut(..first)?, (RING_OFFSET + start) as u64).ok()?;
        self.file.read_exact_at(buffer.get_mut(first..)?, RING_OFFSET as u64).ok()?;
        let after = self.header()?.ring;
        let from = begin.max(after.tail);
        if from > ring.head {
            // All of it was overwritten meanwhile.
            buffer.clear();
            return Some(after.tail);
        }
        buffer.drain(..usize::try_from(from - begin).ok()?);
        Some(from)
    }

    fn take_records(
        &mut self,
        (mut rest, head): (&[u8], u64),
        limit: u64,
        unwind: &mut impl Unwind,
        (lost, samples): (&mut Losses, &mut u64),
    ) {
        let mut locations = Vec::new();
        for _ in 0..RECORDS_A_ROUND {
            if rest.is_empty() {
                return;
            }
            let Ok((record, length)) = table::record(rest) else {
                lost[Loss::Malformed as usize] += 1;
                self.next = head;
                return;
            };
            if record.time > limit {
                return;
            }
            // Numbers have no gaps but for records that were overwritten.
            let missing = record.number.saturating_sub(self.number);
            lost[Loss::Overwritten as usize] = lost[Loss::Overwritten as usize].saturating_add(missing);
            *samples = samples.saturating_add(missing.saturating_add(1));
            self.number = record.number.saturating_add(1);
            self.take(&record, unwind, &mut locations);
            self.next += length as u64;
            rest = rest.get(length..).unwrap_or_default();
        }
    }

    fn take(&mut self, record: &Record<'_>, unwind: &mut impl Unwind, locations: &mut Vec<LocationId>) {
        locations.clear();
        let end = unwind.unwind(self.pid, record, locations);
        for location in locations.iter_mut() {
            *location = carry(unwind.tables(), *location, &mut self.tables);
        }
        let stack = self.tables.intern_stack(locations, end);
        if self.stacks.len() < 4 * ENTRIES {
            self.stacks.insert(record.number, stack);
        }
        self.allocated.entry(stack).or_default().add(Estimate::of(record.size, record.shift));
    }

    /// The stacks of its samples, for whoever asks on this host.
    pub(crate) fn told(&self) -> Told {
        let mut places: HashMap<StackId, usize> = HashMap::new();
        let mut told = Told::default();
        for (number, stack) in &self.stacks {
            let place = *places.entry(*stack).or_insert_with(|| {
                told.stacks.push(told_frames(&self.tables, *stack));
                told.stacks.len() - 1
            });
            told.samples.push((*number, place));
        }
        told.samples.sort_unstable();
        told
    }

    /// Whether the process was killed, or left without its exit handlers: asked of one that has ended.
    pub(crate) fn was_killed(&self) -> bool {
        self.header().is_some_and(|header| header.unfinished)
    }

    /// Adds the window's sums, and forgets what is not needed for the next. `now` is in the records' time; none where the process has ended:
    /// what it freed at its end says nothing of its blocks.
    pub(crate) fn close(&mut self, now: Option<u64>, tables: &mut Tables, sums: &mut Sums, lost: &mut Losses) {
        let before = self.live.clone();
        self.read_live(lost);
        if let Some(now) = now {
            self.count_lives(&before, now, tables, sums);
        }
        let mut carried: HashMap<StackId, StackId, foldhash::fast::RandomState> = HashMap::default();
        let own = &self.tables;
        let mut place = |stack| *carried.entry(stack).or_insert_with(|| carry_stack(own, stack, tables));
        for (stack, estimate) in self.allocated.drain() {
            sums.allocated(place(stack), estimate);
        }
        let mut nameless = Estimate::default();
        for live in self.live.iter().filter(|live| live.number < self.number) {
            let estimate = Estimate::of(live.size, live.shift);
            match self.stacks.get(&live.number) {
                Some(stack) => sums.live(place(*stack), estimate),
                None => nameless.add(estimate),
            }
        }
        if nameless.objects > 0.0 {
            // Their records were overwritten before they were read.
            sums.live(tables.intern_stack(&[], StackEnd::Truncated(StopReason::NoUserStack)), nameless);
        }
        self.forget();
    }

    /// Counts what became of the blocks since the last look.
    fn count_lives(&mut self, before: &[Live], now: u64, tables: &mut Tables, sums: &mut Sums) {
        let last = self.looked.replace(now);
        let (Some(last), Some(header)) = (last, self.seen) else { return };
        let mut counts = AgedStacks::default();
        survival::count((last, now), (before, &self.live), |number| self.stacks.get(&number).copied(), &mut counts);
        let mut carried: HashMap<StackId, StackId, foldhash::fast::RandomState> = HashMap::default();
        for ((stack, class), aged) in counts {
            let stack = *carried.entry(stack).or_insert_with(|| carry_stack(&self.tables, stack, tables));
            sums.aged(stack, class, aged);
        }
        sums.observed(header.started, last, now);
    }

    /// Reads the live samples, unless nothing has changed. Those that are being changed are looked at once more.
    fn read_live(&mut self, lost: &mut Losses) {
        let Some(header) = self.header() else { return };
        let before = self.seen.replace(header);
        let state = |header: Header| (header.taken, header.freed, header.lost_full, header.replaced);
        if before.is_some_and(|before| state(before) == state(header)) {
            return;
        }
        let full = header.lost_full.saturating_sub(before.map_or(0, |before| before.lost_full));
        lost[Loss::TableFull as usize] = lost[Loss::TableFull as usize].saturating_add(full);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(ENTRIES * ENTRY_SIZE, 0);
        for last in [false, true] {
            if self.file.read_exact_at(&mut buffer, ENTRIES_OFFSET as u64).is_err() {
                break;
            }
            self.live.clear();
            let torn = table::live(&buffer, |live| self.live.push(live));
            if torn == 0 || last {
                lost[Loss::Malformed as usize] = lost[Loss::Malformed as usize].saturating_add(torn);
                break;
            }
        }
        // As large as a table, and needed again in ten seconds only.
        self.buffer = Vec::new();
    }

    /// Keeps the stacks of live samples and of those that were taken after the look.
    fn forget(&mut self) {
        let Some(taken) = self.seen.map(|seen| seen.taken) else { return };
        let live: std::collections::HashSet<u64, foldhash::fast::RandomState> = self.live.iter().map(|live| live.number).collect();
        self.stacks.retain(|number, _| *number >= taken || live.contains(number));
        if self.tables.stacks().len() > SPARE_STACKS + 2 * self.stacks.len() {
            let old = std::mem::take(&mut self.tables);
            for stack in self.stacks.values_mut() {
                *stack = carry_stack(&old, *stack, &mut self.tables);
            }
        }
    }
}

fn told_frames(tables: &Tables, stack: StackId) -> Vec<ToldFrame> {
    let locations = tables.stack(stack).map(|stack| &*stack.locations).unwrap_or_default();
    let frame = |location: &LocationId| {
        let location = tables.location(*location)?;
        let object = location.object.and_then(|object| tables.object(object));
        Some(ToldFrame {
            path: object.map(|object| tables.string(object.path).to_owned()).unwrap_or_default(),
            build_id: object.and_then(|object| object.build_id.as_ref()).map(ToString::to_string),
            address: location.address.0,
            kind: location.kind.as_str().to_owned(),
            functions: location.lines.iter().map(|line| tables.string(line.function).to_owned()).collect(),
        })
    };
    locations.iter().filter_map(frame).collect()
}

/// The same stack in other tables.
pub(crate) fn carry_stack(from: &Tables, stack: StackId, to: &mut Tables) -> StackId {
    let Some(stack) = from.stack(stack) else { return to.intern_stack(&[], StackEnd::Unstated) };
    let locations: Vec<_> = stack.locations.iter().map(|location| carry(from, *location, to)).collect();
    to.intern_stack(&locations, stack.end)
}

/// The same location in other tables.
fn carry(from: &Tables, location: LocationId, to: &mut Tables) -> LocationId {
    let Some(location) = from.location(location) else {
        return to.intern_address(flamekeeper_profile::FrameKind::Native, None, flamekeeper_profile::Svma(0));
    };
    let object = location.object.and_then(|id| from.object(id));
    let object = object.map(|object| to.intern_object(object.build_id.clone(), from.string(object.path)));
    let mut text = |id| to.intern_string(from.string(id));
    let lines = location.lines.iter().map(|line| flamekeeper_profile::Line {
        function: text(line.function),
        file: text(line.file),
        line: line.line,
    });
    let lines = lines.collect();
    to.intern_location(Location { kind: location.kind, object, address: location.address, lines })
}
