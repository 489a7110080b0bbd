//! Last live heaps.

use flamekeeper_profile::{Labels, Timestamp, Window, label};

use super::Question;
use crate::selector::Selector;
use crate::store::{Selection, Store, StoreError};

/// Processes that one answer tells of, those with the most memory.
const MOST: usize = 20;
/// Steps in which the moment is looked for.
const STEPS: u64 = 20_000;
/// The sample type of a live heap.
const HEAP: &str = "inuse_space";

/// A process that ended without running its exit handlers.
#[derive(Clone, Debug, PartialEq)]
pub struct Killed {
    /// Its labels.
    pub labels: Labels,
    /// Bytes of its last live heap.
    pub bytes: u64,
    /// The window that its last heap is in; none where rows of that time are merged already.
    pub at: Option<Window>,
}

impl Killed {
    /// What selects its last heap.
    #[must_use]
    pub fn selector(&self) -> Selector {
        let names = [label::SERVICE, label::VERSION, label::HOST, label::PID, label::ENDED];
        let named = names.into_iter().filter(|name| !self.labels.get(name).is_empty());
        named.fold(Selector::default(), |selector, name| selector.with_equal(name, self.labels.get(name)))
    }
}

/// The processes that were killed in the window, by the size of their last heap.
///
/// # Errors
/// Those of the store.
pub fn killed(store: &dyn Store, question: &Question) -> Result<Vec<Killed>, StoreError> {
    let series = store.series(question.window)?.into_iter().filter(|series| {
        let asked = question.service.is_empty() || question.service == series.labels.get(label::SERVICE);
        asked && series.sample_type.query_name() == HEAP && !series.labels.get(label::ENDED).is_empty()
    });
    let mut killed: Vec<_> = series.map(|series| Killed { labels: series.labels, bytes: series.weight, at: None }).collect();
    killed.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.labels.cmp(&b.labels)));
    killed.truncate(MOST);
    for process in &mut killed {
        process.at = moment(store, question.window, process.selector())?;
    }
    Ok(killed)
}

fn moment(store: &dyn Store, window: Window, selector: Selector) -> Result<Option<Window>, StoreError> {
    let step = window.duration().div_ceil(STEPS).max(Timestamp::SECOND);
    let found = store.time_series(&Selection { window, profile_type: HEAP.into(), selector }, "", step)?;
    let place = found.by_value.values().filter_map(|values| values.iter().rposition(|value| *value > 0)).max();
    let from = place.map(|place| window.from.saturating_add((place as u64).saturating_mul(step)));
    Ok(from.map(|from| Window::new(from, from.saturating_add(step))))
}
