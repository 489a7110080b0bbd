//! Folding: samples of a window, summed up by process and stack.

use std::collections::HashMap;
use std::sync::Arc;

use flamekeeper_profile::{Batch, Labels, Ledger, LocationId, LossReason, SampleType, Series, StackEnd, StackId, Tables, Window};

/// Where a process's samples go, in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceSlot {
    window: u64,
    index: u32,
}

/// Somebody whose samples are in the window.
#[derive(Clone, Debug)]
struct Source {
    pid: u32,
    generation: u64,
    labels: Option<Arc<Labels>>,
}

/// A source that has samples and no labels yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unlabelled {
    /// The process.
    pub(crate) pid: u32,
    /// Its generation.
    pub(crate) generation: u64,
    index: u32,
}

/// The current window.
#[derive(Debug)]
pub(crate) struct Fold {
    serial: u64,
    tables: Tables,
    sources: Vec<Source>,
    values: HashMap<(u32, StackId), u64, foldhash::fast::RandomState>,
    ledger: Ledger,
}

impl Fold {
    /// An empty window.
    pub(crate) fn new() -> Self {
        Self { serial: 1, tables: Tables::new(), sources: Vec::new(), values: HashMap::default(), ledger: Ledger::new() }
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
        self.sources.push(Source { pid, generation, labels: None });
        SourceSlot { window: self.serial, index }
    }

    /// Says what the samples in a slot are labelled with.
    pub(crate) fn label(&mut self, slot: SourceSlot, labels: &Arc<Labels>) {
        if let Some(source) = self.sources.get_mut(slot.index as usize).filter(|_| slot.window == self.serial) {
            source.labels.get_or_insert_with(|| Arc::clone(labels));
        }
    }

    /// Adds a sample that the ledger counts as taken already.
    pub(crate) fn add(&mut self, slot: SourceSlot, locations: &[LocationId], end: StackEnd) {
        let stack = self.tables.intern_stack(locations, end);
        *self.values.entry((slot.index, stack)).or_default() += 1;
    }

    /// Counts a sample that was taken and is lost.
    pub(crate) const fn lose(&mut self, reason: LossReason, samples: u64) {
        self.ledger.take(samples);
        self.ledger.lose(reason, samples);
    }

    /// Sources without labels.
    pub(crate) fn unlabelled(&self) -> Vec<Unlabelled> {
        let indexed = self.sources.iter().zip(0_u32..).filter(|(source, _)| source.labels.is_none());
        indexed.map(|(source, index)| Unlabelled { pid: source.pid, generation: source.generation, index }).collect()
    }

    /// Labels one of [`Self::unlabelled`].
    pub(crate) fn label_late(&mut self, source: Unlabelled, labels: &Arc<Labels>) {
        self.label(SourceSlot { window: self.serial, index: source.index }, labels);
    }

    /// Ends the window and begins the next. Generations with equal labels become one series. `excluded` tells whose samples
    /// are not to be kept: they are counted as lost, for that reason.
    pub(crate) fn close(&mut self, window: Window, host: &Labels, period_ns: u64, excluded: impl Fn(&Labels) -> bool) -> Batch {
        let mut places: HashMap<&Labels, Option<usize>> = HashMap::new();
        let mut series: Vec<Series> = Vec::new();
        let nobody = Labels::new();
        let mut place_of = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let labels = source.labels.as_deref().unwrap_or(&nobody);
            place_of.push(*places.entry(labels).or_insert_with(|| {
                (!excluded(labels)).then(|| {
                    series.push(Series { labels: labels.clone(), sample_type: SampleType::cpu(period_ns), values: Vec::new() });
                    series.len() - 1
                })
            }));
        }
        let mut sums: HashMap<(usize, StackId), u64, foldhash::fast::RandomState> = HashMap::default();
        for ((source, stack), count) in self.values.drain() {
            match place_of.get(source as usize).copied().flatten() {
                Some(place) => *sums.entry((place, stack)).or_default() += count,
                None => self.ledger.lose(LossReason::Excluded, count),
            }
        }
        for ((place, stack), count) in sums {
            series[place].values.push((stack, count));
        }
        series.retain(|series| !series.values.is_empty());
        series.iter_mut().for_each(|series| series.values.sort_unstable_by_key(|(stack, _)| *stack));
        let batch = Batch {
            window,
            labels: host.clone(),
            tables: std::mem::take(&mut self.tables),
            series,
            ledger: std::mem::take(&mut self.ledger),
        };
        self.sources.clear();
        self.serial += 1;
        debug_assert_eq!(batch.ledger.taken, batch.samples() + batch.ledger.lost_total(), "a sample is neither kept nor lost");
        batch
    }
}

#[cfg(test)]
mod tests {
    use flamekeeper_profile::{FrameKind, Svma, Timestamp, label};

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
        let slots = [1, 2, 3].map(|generation| fold.slot(None, 7, generation));
        let name = |name: &str| Arc::new(Labels::new().with(label::SERVICE, name));
        for (slot, labels) in slots.iter().zip([name("a"), name("a"), name("secret")]) {
            fold.label(*slot, &labels);
        }
        for (slot, address) in [(slots[0], 1), (slots[0], 1), (slots[1], 1), (slots[1], 2), (slots[2], 1)] {
            sample(&mut fold, slot, address);
        }
        fold.lose(LossReason::RingFull, 4);
        let batch = fold.close(WINDOW, &Labels::new(), 1000, |labels| labels.get(label::SERVICE) == "secret");
        assert_eq!(batch.series.len(), 1);
        let mut values: Vec<u64> = batch.series[0].values.iter().map(|(_, count)| *count).collect();
        values.sort_unstable();
        assert_eq!(values, [1, 3]);
        assert_eq!((batch.ledger.taken, batch.samples(), batch.ledger.lost(LossReason::Excluded)), (9, 4, 1));
        assert_eq!(batch.ledger.taken, batch.samples() + batch.ledger.lost_total());
    }

    /// A slot of the window before is not taken for one of this.
    #[test]
    fn slots_do_not_outlive_their_window() {
        let mut fold = Fold::new();
        let old = fold.slot(None, 7, 1);
        fold.close(WINDOW, &Labels::new(), 1000, |_| false);
        let other = fold.slot(None, 8, 2);
        let slot = fold.slot(Some(old), 7, 1);
        assert_ne!(slot.index, other.index);
        assert_eq!(fold.unlabelled().len(), 2);
    }
}
