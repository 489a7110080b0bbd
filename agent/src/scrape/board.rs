//! What was scraped last, between the thread that scrapes and the one that closes windows.

use std::sync::{Arc, Mutex, PoisonError};

use flamekeeper_profile::{Labels, SampleType, Series, StackId, Tables};

use super::profile::{Amounts, HeapProfile};
use crate::heap::{carry_stack, sample_types};

/// The last heap of a target.
#[derive(Debug)]
struct Held {
    labels: Labels,
    profile: Arc<HeapProfile>,
    /// Until when it says what is live, in nanoseconds of the monotonic clock.
    until: u64,
    /// Whether what it says was allocated is not in a window yet.
    fresh: bool,
}

/// The last heap of each target, by its place in the configuration.
#[derive(Debug, Default)]
pub struct Board(Mutex<Vec<Option<Held>>>);

impl Board {
    /// Notes what was scraped: it says what is live until `until`, and what was allocated is in the next window. Of two that come
    /// within one window the later one's allocations count with those of the earlier one.
    pub(super) fn note(&self, target: usize, labels: Labels, mut profile: HeapProfile, until: u64) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() <= target {
            held.resize_with(target + 1, || None);
        }
        let Some(place) = held.get_mut(target) else { return };
        if let Some(before) = place.take().filter(|held| held.fresh) {
            profile.add_allocated(&before.profile);
        }
        *place = Some(Held { labels, profile: Arc::new(profile), until, fresh: true });
    }

    /// The series of a window that ends now, over its tables.
    pub(crate) fn close(&self, now: u64, tables: &mut Tables) -> Vec<Series> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        for place in held.iter_mut() {
            let Some(held) = place.as_mut().filter(|held| now < held.until) else {
                *place = None;
                continue;
            };
            due.push((held.labels.clone(), Arc::clone(&held.profile), std::mem::take(&mut held.fresh)));
        }
        drop(held);
        due.into_iter().flat_map(|(labels, profile, fresh)| series(&labels, &profile, fresh, tables)).collect()
    }
}

/// In the order of [`sample_types`].
const PARTS: [fn(&Amounts) -> u64; 4] =
    [|amounts| amounts.alloc_space, |amounts| amounts.alloc_objects, |amounts| amounts.inuse_space, |amounts| amounts.inuse_objects];

fn series(labels: &Labels, profile: &HeapProfile, fresh: bool, tables: &mut Tables) -> Vec<Series> {
    let mut stacks: Vec<(StackId, Amounts)> =
        profile.stacks().map(|(stack, amounts)| (carry_stack(profile.tables(), stack, tables), amounts)).collect();
    stacks.sort_by_key(|(stack, _)| *stack);
    let series = sample_types().into_iter().zip(PARTS).map(|(sample_type, part): (SampleType, fn(&Amounts) -> u64)| {
        let told = fresh || SampleType::is_level(sample_type.query_name());
        let values = stacks.iter().filter(|_| told).map(|(stack, amounts)| (*stack, part(amounts))).filter(|(_, value)| *value > 0);
        let values = values.collect();
        Series { labels: labels.clone(), sample_type, values }
    });
    series.filter(|series| !series.values.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use flamekeeper_profile::{FrameKind, Svma};

    use super::*;

    fn profile(allocated: u64, live: u64) -> HeapProfile {
        let mut profile = HeapProfile::default();
        let frame = profile.tables.intern_named(FrameKind::Go, None, Svma(0), "grow");
        profile.add(&[frame], Amounts { alloc_space: allocated, alloc_objects: 1, inuse_space: live, inuse_objects: 1 });
        profile
    }

    fn values(board: &Board, now: u64) -> Vec<(String, u64)> {
        let series = board.close(now, &mut Tables::new());
        series
            .into_iter()
            .map(|series| (series.sample_type.query_name().to_owned(), series.values.iter().map(|(_, value)| value).sum()))
            .collect()
    }

    /// What is live is in every window until it is too old; what was allocated is in one, whole, however scrapes and windows lie.
    #[test]
    fn levels_stay_and_flows_count_once() {
        let board = Board::default();
        let labels = Labels::new().with("service", "gate");
        let of = |name: &str, value: u64| (name.to_owned(), value);
        board.note(1, labels.clone(), profile(100, 50), 1000);
        board.note(1, labels, profile(10, 60), 1000);
        let first = [of("alloc_space", 110), of("alloc_objects", 2), of("inuse_space", 60), of("inuse_objects", 1)];
        assert_eq!(values(&board, 10), first);
        assert_eq!(values(&board, 20), [of("inuse_space", 60), of("inuse_objects", 1)]);
        assert_eq!(values(&board, 1000), []);
    }
}
