//! Samples by second and tenth of a second: what a subsecond heat map is drawn from (`flamekeeper_profile::subsecond`).

use flamekeeper_profile::subsecond::{PER_MINUTE, PER_SECOND, QUERY_NAME, Tenth};
use flamekeeper_profile::{StackId, Tables, Timestamp, Window, label};

use crate::selector::Selector;
use crate::store::{Selection, Store, StoreError};
use crate::watch;

/// The longest stored window that is common: one that holds the start of what is asked for began no earlier.
const LONGEST_STORED: u64 = 10 * Timestamp::SECOND;

/// Samples by time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heatmap {
    /// The first second.
    pub from: Timestamp,
    /// Samples in each tenth of a second from there on, whole seconds.
    pub tenths: Vec<u64>,
}

/// From when on counts are kept for a selector: minutes hold service and version alone, and what hours hold is no time any more.
///
/// # Errors
/// Those of the store.
pub fn kept_from(store: &dyn Store, selector: &Selector) -> Result<Timestamp, StoreError> {
    let status = store.status()?;
    let by_minute = selector.labels().all(|name| name == label::SERVICE || name == label::VERSION);
    Ok(if by_minute { status.minute_from } else { status.raw_from })
}

/// The counts of a window, which grows to whole seconds.
///
/// # Errors
/// Those of the store, and that nobody waits any more.
pub fn heatmap(store: &dyn Store, window: Window, selector: &Selector) -> Result<Heatmap, StoreError> {
    let from = window.from.align_down(Timestamp::SECOND);
    let seconds = window.to.0.saturating_sub(from.0).div_ceil(Timestamp::SECOND);
    let tenths = usize::try_from(seconds * u64::from(PER_SECOND)).unwrap_or(usize::MAX);
    let mut map = Heatmap { from, tenths: vec![0; tenths] };
    let end = from.saturating_add(seconds * Timestamp::SECOND);
    let mut minute = from.align_down(Tenth::MINUTE);
    while minute < end {
        watch::check().map_err(StoreError::Stopped)?;
        let next = minute.saturating_add(Tenth::MINUTE);
        // Of the first minute no more than what may reach into the window: its stored windows began a little earlier.
        let part = Window::new(minute.max(from.align_down(LONGEST_STORED)), next.min(end));
        map.add(minute, &counts(store, part, selector)?);
        minute = next;
    }
    Ok(map)
}

impl Heatmap {
    fn add(&mut self, minute: Timestamp, counts: &[u64]) {
        let first = minute.0 / Tenth::LENGTH;
        let start = self.from.0 / Tenth::LENGTH;
        for (tenth, count) in (first..).zip(counts) {
            let place = tenth.checked_sub(start).and_then(|place| usize::try_from(place).ok());
            if let Some(cell) = place.and_then(|place| self.tenths.get_mut(place)) {
                *cell = cell.saturating_add(*count);
            }
        }
    }
}

/// The samples in each tenth of a minute.
fn counts(store: &dyn Store, window: Window, selector: &Selector) -> Result<Vec<u64>, StoreError> {
    let selection = Selection { window, profile_type: QUERY_NAME.to_owned(), selector: selector.clone() };
    let found = store.merged(&selection)?.merged;
    let mut counts = vec![0_u64; usize::from(PER_MINUTE)];
    for (stack, value) in found.values() {
        // Anybody may send a series of this type: what is no tenth is none.
        if let Some(count) = tenth(&found.tables, stack).and_then(|tenth| counts.get_mut(usize::from(tenth.index()))) {
            *count = count.saturating_add(value.weight);
        }
    }
    Ok(counts)
}

fn tenth(tables: &Tables, stack: StackId) -> Option<Tenth> {
    let location = tables.location(*tables.stack(stack)?.locations.first()?)?;
    tables.string(location.lines.first()?.function).parse().ok()
}
