//! Folding: samples of a window, summed up by process and stack.

use std::collections::HashMap;
use std::sync::Arc;

use flamekeeper_profile::subsecond::{self, Tenth};
use flamekeeper_profile::{
    AgentFigures, Batch, FrameKind, Labels, Ledger, LocationId, LossReason, SampleType, Series, StackEnd, StackId, StringId, Svma, Tables,
    Timestamp, Window,
};

use crate::identity::Named;

/// What an entry takes beside its content, in bytes: itself, its place in the index, and the allocator's part.
const STACK_BYTES: usize = 128;
const LOCATION_BYTES: usize = 128;
const TEXT_BYTES: usize = 64;
const VALUE_BYTES: usize = 48;
const SOURCE_BYTES: usize = 48;

/// Where the samples of a process, or of one of its threads, go in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceSlot {
    window: u64,
    index: u32,
}

impl SourceSlot {
    /// Whether it is of the window of this number.
    pub(crate) const fn is_of(self, window: u64) -> bool {
        self.window == window
    }
}

/// Somebody whose samples are in the window.
#[derive(Clone, Debug)]
struct Source {
    pid: u32,
    generation: u64,
    named: Option<Arc<Named>>,
}

/// Whose samples a slot holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    /// The slot.
    pub(crate) slot: SourceSlot,
    /// The process.
    pub(crate) pid: u32,
    /// Its generation.
    pub(crate) generation: u64,
    /// Whether it has labels already.
    pub(crate) labelled: bool,
}

/// A stack of a source, sampled at one of the window's periods.
type Place = (u32, u32, StackId);

/// Memory that was touched first with a stack.
#[derive(Clone, Copy, Debug, Default)]
struct Touched {
    /// Estimated.
    bytes: u64,
    samples: u64,
}

impl Touched {
    const fn add(&mut self, more: Self) {
        (self.bytes, self.samples) = (self.bytes.saturating_add(more.bytes), self.samples + more.samples);
    }
}

/// The current window.
#[derive(Debug)]
pub(crate) struct Fold {
    serial: u64,
    tables: Tables,
    sources: Vec<Source>,
    /// Periods that samples of this window have, in what the event counts; samples of each are series of their own.
    periods: Vec<u64>,
    /// Which of them holds for what is added.
    period: u32,
    values: HashMap<Place, u64, foldhash::fast::RandomState>,
    /// Samples by source and tenth of a second since the epoch.
    tenths: HashMap<(u32, u64), u64, foldhash::fast::RandomState>,
    /// Memory touched first, by source and stack.
    touched: HashMap<(u32, StackId), Touched, foldhash::fast::RandomState>,
    excluded_faults: u64,
    ledger: Ledger,
    /// Bytes of the stacks and texts, roughly, and how many texts that counts.
    held: usize,
    texts: u32,
}

impl Fold {
    /// An empty window.
    pub(crate) fn new() -> Self {
        Self {
            serial: 1,
            tables: Tables::new(),
            sources: Vec::new(),
            periods: Vec::new(),
            period: 0,
            values: HashMap::default(),
            tenths: HashMap::default(),
            touched: HashMap::default(),
            excluded_faults: 0,
            ledger: Ledger::new(),
            held: 0,
            texts: 0,
        }
    }

    /// Says what each of the following samples is worth: the period, in what the event counts.
    pub(crate) fn weigh(&mut self, period: u64) {
        if self.periods.get(self.period as usize) == Some(&period) {
            return;
        }
        let place = self.periods.iter().position(|known| *known == period).unwrap_or(self.periods.len());
        if place == self.periods.len() {
            self.periods.push(period);
        }
        self.period = u32::try_from(place).unwrap_or(u32::MAX);
    }

    /// Bytes that the window takes, roughly: what is in it, not what the allocator made of it.
    pub(crate) fn bytes(&self) -> usize {
        let locations = self.tables.locations().len() * LOCATION_BYTES;
        let others = (self.values.len() + self.tenths.len() + self.touched.len()) * VALUE_BYTES + self.sources.len() * SOURCE_BYTES;
        self.held + locations + others
    }

    /// A number of the window's own: handles made in another one do not hold in it.
    pub(crate) const fn serial(&self) -> u64 {
        self.serial
    }

    /// The window's tables.
    pub(crate) const fn tables(&mut self) -> &mut Tables {
        &mut self.tables
    }

    /// The window's ledger.
    pub(crate) const fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// The slot of a process: the one that it has, or a new one where that is of another window.
    pub(crate) fn slot(&mut self, held: Option<SourceSlot>, pid: u32, generation: u64) -> SourceSlot {
        if let Some(slot) = held.filter(|slot| slot.window == self.serial) {
            return slot;
        }
        let index = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        self.sources.push(Source { pid, generation, named: None });
        SourceSlot { window: self.serial, index }
    }

    /// Says what the samples in a slot are labelled with: what was said last holds for the whole window.
    pub(crate) fn label(&mut self, slot: SourceSlot, named: &Arc<Named>) {
        if let Some(source) = self.sources.get_mut(slot.index as usize).filter(|_| slot.window == self.serial) {
            source.named = Some(Arc::clone(named));
        }
    }

    /// Adds a sample that the ledger counts as taken already.
    pub(crate) fn add(&mut self, slot: SourceSlot, locations: &[LocationId], end: StackEnd) {
        let stack = self.tables.intern_stack(locations, end);
        let value = self.values.entry((slot.index, self.period, stack)).or_default();
        *value += 1;
        if *value == 1 {
            self.hold(locations);
        }
    }

    /// Adds a sample of page faults, which stands for so many bytes that were touched first.
    pub(crate) fn touch(&mut self, slot: SourceSlot, locations: &[LocationId], end: StackEnd, bytes: u64) {
        let stack = self.tables.intern_stack(locations, end);
        let touched = self.touched.entry((slot.index, stack)).or_default();
        touched.add(Touched { bytes, samples: 1 });
        if touched.samples == 1 {
            self.hold(locations);
        }
    }

    fn hold(&mut self, locations: &[LocationId]) {
        self.held += STACK_BYTES + size_of_val(locations);
        while let Some(text) = self.tables.strings().get(StringId::new(self.texts)) {
            (self.held, self.texts) = (self.held + TEXT_BYTES + text.len(), self.texts + 1);
        }
    }

    /// Samples of page faults of the excluded, in the windows closed since this was asked last.
    pub(crate) const fn take_excluded_faults(&mut self) -> u64 {
        std::mem::replace(&mut self.excluded_faults, 0)
    }

    /// Says when a sample that was added was taken.
    pub(crate) fn time(&mut self, slot: SourceSlot, at: Timestamp) {
        *self.tenths.entry((slot.index, at.0 / Tenth::LENGTH)).or_default() += 1;
    }

    /// Counts a sample that was taken and is lost.
    pub(crate) const fn lose(&mut self, reason: LossReason, samples: u64) {
        self.ledger.take(samples);
        self.ledger.lose(reason, samples);
    }

    /// The owners of all slots.
    pub(crate) fn owners(&self) -> Vec<Owner> {
        let owner = |(source, index): (&Source, u32)| Owner {
            slot: SourceSlot { window: self.serial, index },
            pid: source.pid,
            generation: source.generation,
            labelled: source.named.is_some(),
        };
        self.sources.iter().zip(0_u32..).map(owner).collect()
    }

    /// Puts other locations in the place of some: frames whose names came after their samples.
    pub(crate) fn relocate(&mut self, moved: &HashMap<LocationId, LocationId, foldhash::fast::RandomState>) {
        let mut stacks: HashMap<StackId, StackId, foldhash::fast::RandomState> = HashMap::default();
        let touched = self.touched.keys().map(|(_, stack)| stack);
        for stack in self.values.keys().map(|(_, _, stack)| stack).chain(touched) {
            let Some(known) = self.tables.stack(*stack).filter(|known| known.locations.iter().any(|id| moved.contains_key(id))) else {
                continue;
            };
            let (locations, end): (Vec<_>, _) = (known.locations.iter().map(|id| *moved.get(id).unwrap_or(id)).collect(), known.end);
            stacks.insert(*stack, self.tables.intern_stack(&locations, end));
        }
        for ((source, period, stack), count) in std::mem::take(&mut self.values) {
            *self.values.entry((source, period, stacks.get(&stack).copied().unwrap_or(stack))).or_default() += count;
        }
        for ((source, stack), more) in std::mem::take(&mut self.touched) {
            self.touched.entry((source, stacks.get(&stack).copied().unwrap_or(stack))).or_default().add(more);
        }
    }

    /// Ends the window and begins the next. Generations with equal labels and period become one series, of this sample type
    /// but for the period. Samples of the excluded are not kept: they are counted as lost, for that reason.
    pub(crate) fn close(&mut self, window: Window, host: &Labels, sample_type: &SampleType) -> Batch {
        let mut groups: HashMap<&Named, Option<usize>> = HashMap::new();
        let mut labels_of: Vec<&Labels> = Vec::new();
        let nobody = Named { labels: Labels::new(), excluded: false };
        let mut group_of = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let named = source.named.as_deref().unwrap_or(&nobody);
            group_of.push(*groups.entry(named).or_insert_with(|| {
                (!named.excluded).then(|| {
                    labels_of.push(&named.labels);
                    labels_of.len() - 1
                })
            }));
        }
        let mut sums: HashMap<(usize, u32, StackId), u64, foldhash::fast::RandomState> = HashMap::default();
        for ((source, period, stack), count) in self.values.drain() {
            match group_of.get(source as usize).copied().flatten() {
                Some(group) => *sums.entry((group, period, stack)).or_default() += count,
                None => self.ledger.lose(LossReason::Excluded, count),
            }
        }
        let mut tenths: HashMap<(usize, Tenth), u64, foldhash::fast::RandomState> = HashMap::default();
        for ((source, tenth), count) in self.tenths.drain() {
            let group = group_of.get(source as usize).copied().flatten();
            if let (Some(group), Some(tenth)) = (group, Tenth::of(Timestamp(tenth.saturating_mul(Tenth::LENGTH)), window)) {
                *tenths.entry((group, tenth)).or_default() += count;
            }
        }
        let mut touched: HashMap<(usize, StackId), u64, foldhash::fast::RandomState> = HashMap::default();
        for ((source, stack), Touched { bytes, samples }) in self.touched.drain() {
            match group_of.get(source as usize).copied().flatten() {
                Some(group) => {
                    let sum = touched.entry((group, stack)).or_default();
                    *sum = sum.saturating_add(bytes);
                }
                None => self.excluded_faults += samples,
            }
        }
        let timed = timed(tenths.into_iter().collect(), &labels_of, &mut self.tables);
        let types: Vec<_> = self.periods.iter().map(|period| SampleType { period: *period, ..sample_type.clone() }).collect();
        let mut series = series(sums.into_iter().collect(), &labels_of, &types);
        series.extend(timed);
        let touched = touched.into_iter().map(|((group, stack), bytes)| ((group, 0, stack), bytes)).collect();
        series.extend(self::series(touched, &labels_of, &[SampleType::touched()]));
        let batch = Batch {
            window,
            labels: host.clone(),
            tables: std::mem::take(&mut self.tables),
            series,
            ledger: std::mem::take(&mut self.ledger),
            figures: AgentFigures::default(),
        };
        self.sources.clear();
        self.periods.clear();
        (self.period, self.held, self.texts) = (0, 0, 0);
        self.serial += 1;
        debug_assert_eq!(batch.ledger.taken, batch.samples() + batch.ledger.lost_total(), "a sample is neither kept nor lost");
        batch
    }
}

/// One series for each group of sources and period, stacks in order.
fn series(mut sums: Vec<((usize, u32, StackId), u64)>, labels: &[&Labels], types: &[SampleType]) -> Vec<Series> {
    sums.sort_unstable_by_key(|(place, _)| *place);
    let mut series: Vec<Series> = Vec::new();
    for group in sums.chunk_by(|(a, _), (b, _)| (a.0, a.1) == (b.0, b.1)) {
        let Some(((of, period, _), _)) = group.first() else { continue };
        let labels = labels.get(*of).map_or_else(Labels::new, |labels| (*labels).clone());
        let Some(sample_type) = types.get(*period as usize).cloned() else { continue };
        series.push(Series { labels, sample_type, values: group.iter().map(|((.., stack), count)| (*stack, *count)).collect() });
    }
    series
}

/// One series of [`subsecond`] counts for each group of sources, tenths in order.
fn timed(mut counts: Vec<((usize, Tenth), u64)>, labels: &[&Labels], tables: &mut Tables) -> Vec<Series> {
    counts.sort_unstable_by_key(|(place, _)| *place);
    let mut series: Vec<Series> = Vec::new();
    for group in counts.chunk_by(|(a, _), (b, _)| a.0 == b.0) {
        let Some(((of, _), _)) = group.first() else { continue };
        let named = |tenth: Tenth, tables: &mut Tables| {
            let location = tables.intern_named(FrameKind::Other, None, Svma(0), &tenth.to_string());
            tables.intern_stack(&[location], StackEnd::Root)
        };
        let values = group.iter().map(|((_, tenth), count)| (named(*tenth, tables), *count)).collect();
        let labels = labels.get(*of).map_or_else(Labels::new, |labels| (*labels).clone());
        series.push(Series { labels, sample_type: subsecond::sample_type(), values });
    }
    series
}

#[cfg(test)]
mod tests {
    use flamekeeper_profile::label;

    use super::*;

    const WINDOW: Window = Window::new(Timestamp(0), Timestamp(10));

    fn sample(fold: &mut Fold, slot: SourceSlot, address: u64) {
        let location = fold.tables().intern_address(FrameKind::Native, None, Svma(address));
        fold.ledger().take(1);
        fold.add(slot, &[location], StackEnd::Root);
    }

    /// Taken = stored + lost, equal stacks are summed, generations with equal labels are one series, and an excluded
    /// process is lost by name.
    #[test]
    fn ledger_adds_up() {
        let mut fold = Fold::new();
        fold.weigh(1000);
        let slots = [1, 2, 3].map(|generation| fold.slot(None, 7, generation));
        let name = |name: &str| Arc::new(Named { labels: Labels::new().with(label::SERVICE, name), excluded: name == "secret" });
        for (slot, labels) in slots.iter().zip([name("a"), name("a"), name("secret")]) {
            fold.label(*slot, &labels);
        }
        for (slot, address) in [(slots[0], 1), (slots[0], 1), (slots[1], 1), (slots[1], 2), (slots[2], 1)] {
            sample(&mut fold, slot, address);
        }
        fold.lose(LossReason::RingFull, 4);
        let batch = fold.close(WINDOW, &Labels::new(), &SampleType::cpu(1000));
        assert_eq!(batch.series.len(), 1);
        let mut values: Vec<u64> = batch.series[0].values.iter().map(|(_, count)| *count).collect();
        values.sort_unstable();
        assert_eq!(values, [1, 3]);
        assert_eq!((batch.ledger.taken, batch.samples(), batch.ledger.lost(LossReason::Excluded)), (9, 4, 1));
        assert_eq!(batch.ledger.taken, batch.samples() + batch.ledger.lost_total());
    }

    /// Stacks that became equal are one, and no sample goes.
    #[test]
    fn relocated_stacks_are_summed() {
        let mut fold = Fold::new();
        let slot = fold.slot(None, 7, 1);
        fold.weigh(1000);
        (1..=3).for_each(|address| sample(&mut fold, slot, address));
        let ids = [1, 2, 9].map(|address| fold.tables().intern_address(FrameKind::Native, None, Svma(address)));
        fold.relocate(&[(ids[0], ids[2]), (ids[1], ids[2])].into_iter().collect());
        let batch = fold.close(WINDOW, &Labels::new(), &SampleType::cpu(1000));
        let counts = batch.series[0].values.iter().map(|(stack, count)| (batch.tables.stack(*stack).unwrap().locations[0], *count));
        let nine = counts.filter(|(location, _)| *location == ids[2]).map(|(_, count)| count).collect::<Vec<_>>();
        assert_eq!((nine, batch.samples()), (vec![2], 3));
    }

    /// Samples of two periods in one window are two series, each of its own weight, whatever the order they come in.
    #[test]
    fn periods_are_kept_apart() {
        let mut fold = Fold::new();
        let labels = Arc::new(Named { labels: Labels::new().with(label::SERVICE, "a"), excluded: false });
        let slot = fold.slot(None, 7, 1);
        fold.label(slot, &labels);
        for (period, address) in [(1000, 1), (2000, 1), (1000, 2), (2000, 1), (1000, 1), (4000, 3)] {
            fold.weigh(period);
            sample(&mut fold, slot, address);
        }
        let batch = fold.close(WINDOW, &Labels::new(), &SampleType::cpu(1000));
        let series: Vec<_> = batch.series.iter().map(|series| (series.sample_type.period, series.total())).collect();
        assert_eq!(series, [(1000, 3), (2000, 2), (4000, 1)]);
        assert_eq!(batch.series.iter().map(|series| series.sample_type.weigh(series.total())).sum::<u64>(), 11_000);
        assert_eq!((batch.samples(), batch.ledger.taken), (6, 6));
        let slot = fold.slot(None, 7, 1);
        fold.weigh(2000);
        sample(&mut fold, slot, 1);
        assert_eq!(fold.close(WINDOW, &Labels::new(), &SampleType::cpu(1000)).series[0].sample_type.period, 2000);
    }

    /// Samples are counted by the tenth of a second they were taken in, for each group of sources, and those of the excluded are not.
    #[test]
    fn samples_have_a_time() {
        let mut fold = Fold::new();
        fold.weigh(1000);
        let slots = [1, 2, 3].map(|generation| fold.slot(None, 7, generation));
        for (slot, service) in slots.into_iter().zip(["a", "a", "secret"]) {
            let labels = Labels::new().with(label::SERVICE, service);
            fold.label(slot, &Arc::new(Named { labels, excluded: service == "secret" }));
        }
        let tenths = [(0, 372), (1, 372), (0, 373), (2, 373), (0, 399)];
        for (place, tenth) in tenths {
            sample(&mut fold, slots[place], 1);
            fold.time(slots[place], Timestamp(tenth * Tenth::LENGTH));
        }
        let window = Window::new(Timestamp(30 * Timestamp::SECOND), Timestamp(40 * Timestamp::SECOND));
        let batch = fold.close(window, &Labels::new(), &SampleType::cpu(1000));
        assert_eq!(batch.series.iter().map(|series| series.sample_type.query_name()).collect::<Vec<_>>(), ["cpu", "cpu_subsecond"]);
        let name = |stack| {
            let location = batch.tables.location(batch.tables.stack(stack).unwrap().locations[0]).unwrap();
            batch.tables.string(location.lines[0].function)
        };
        let named: Vec<_> = batch.series[1].values.iter().map(|(stack, count)| (name(*stack), *count)).collect();
        assert_eq!(named, [("37.2", 2), ("37.3", 1), ("39.9", 1)]);
        assert_eq!((batch.series[1].labels.get(label::SERVICE), batch.samples()), ("a", 4));
        let slot = fold.slot(None, 7, 1);
        assert!(slot.is_of(2) && fold.bytes() < 100, "nothing of the window before is held");
    }

    /// What a window takes grows with what is new in it only, and begins anew with the next.
    #[test]
    fn bytes_grow_with_what_is_new() {
        let mut fold = Fold::new();
        let slot = fold.slot(None, 7, 1);
        fold.weigh(1000);
        let mut before = fold.bytes();
        for address in 0..100 {
            fold.tables().intern_string(&"x".repeat(address * 10));
            sample(&mut fold, slot, address as u64);
            assert!(fold.bytes() >= before + address * 10 + 100, "{before}");
            before = fold.bytes();
        }
        sample(&mut fold, slot, 5);
        assert_eq!(fold.bytes(), before);
        fold.close(WINDOW, &Labels::new(), &SampleType::cpu(1000));
        assert_eq!(fold.bytes(), 0);
    }

    /// A slot of the window before is not taken for one of this.
    #[test]
    fn slots_do_not_outlive_their_window() {
        let mut fold = Fold::new();
        let old = fold.slot(None, 7, 1);
        fold.close(WINDOW, &Labels::new(), &SampleType::cpu(1000));
        let other = fold.slot(None, 8, 2);
        let slot = fold.slot(Some(old), 7, 1);
        assert_ne!(slot.index, other.index);
        assert!(fold.owners().len() == 2 && fold.owners().iter().all(|owner| !owner.labelled));
    }
}
