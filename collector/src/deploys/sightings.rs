//! Which version of which service ran where and when, as the labels of stored series tell.

use std::collections::BTreeMap;

use flamekeeper_profile::{Timestamp, Window, label};

use crate::store::{SeriesSummary, Store, StoreError};

const HOUR: u64 = 3600 * Timestamp::SECOND;
const MINUTE: u64 = 60 * Timestamp::SECOND;
/// Questions that one answer may put to the store.
const MOST_STEPS: u64 = 800;

/// A version of a service on a host, from the first to the last time that it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Service.
    pub service: String,
    /// Version, or build id.
    pub version: String,
    /// Host.
    pub host: String,
    /// Start of the first step that it was seen in.
    pub first: Timestamp,
    /// End of the last one.
    pub last: Timestamp,
}

/// Everything that was seen in a window, of one service or of all (empty), by time. A version that was away for a while on a host is seen
/// once again. Times are right to a minute in windows up to 12 hours, and to an hour in longer ones, but for the hour in which a version is
/// first seen: that is looked at minute by minute where it is new to the service.
///
/// # Errors
/// Those of the store.
pub fn sightings(store: &dyn Store, window: Window, service: &str) -> Result<Vec<Sighting>, StoreError> {
    let step = if window.duration() <= 12 * HOUR { MINUTE } else { HOUR };
    let step = step.max(window.duration().div_ceil(MOST_STEPS).next_multiple_of(step));
    let mut found = scan(store, window, service, step)?;
    if step > MINUTE {
        refine(store, &mut found, window, step)?;
    }
    found.sort_by(|a, b| (a.first, &a.service, &a.host, &a.version).cmp(&(b.first, &b.service, &b.host, &b.version)));
    Ok(found)
}

fn scan(store: &dyn Store, window: Window, service: &str, step: u64) -> Result<Vec<Sighting>, StoreError> {
    let mut open: BTreeMap<(String, String, String), Sighting> = BTreeMap::new();
    let mut found = Vec::new();
    let mut at = window.from;
    while at < window.to {
        // Aligned to the step, so that whole hours are answered by their tier.
        let next = at.align_down(step).saturating_add(step).min(window.to);
        for series in store.series(Window::new(at, next))?.into_iter().filter(SeriesSummary::is_of_a_host) {
            let of = |name| series.labels.get(name).to_owned();
            let key = (of(label::SERVICE), of(label::VERSION), of(label::HOST));
            if key.0.is_empty() || key.1.is_empty() || !(service.is_empty() || key.0 == service) {
                continue;
            }
            // What was away for longer than a step comes anew.
            if let Some(before) = open.get_mut(&key).filter(|before| before.last.saturating_add(step) >= at) {
                before.last = next;
                continue;
            }
            let (service, version, host) = key.clone();
            found.extend(open.insert(key, Sighting { service, version, host, first: at, last: next }));
        }
        at = next;
    }
    found.extend(open.into_values());
    Ok(found)
}

/// Hours in which a version was first seen, at most so many, are looked at minute by minute.
const MOST_REFINED: usize = 6;

fn refine(store: &dyn Store, found: &mut [Sighting], window: Window, step: u64) -> Result<(), StoreError> {
    let mut starts: Vec<Timestamp> = found.iter().map(|sighting| sighting.first).filter(|first| *first > window.from).collect();
    starts.sort_unstable();
    starts.dedup();
    for first in starts.into_iter().rev().take(MOST_REFINED) {
        let part = Window::new(first, first.saturating_add(step).min(window.to));
        let exact = scan(store, part, "", MINUTE.max(step / 60))?;
        for sighting in found.iter_mut() {
            let same =
                |exact: &&Sighting| exact.service == sighting.service && exact.version == sighting.version && exact.host == sighting.host;
            if sighting.first == first {
                sighting.first = exact.iter().filter(same).map(|exact| exact.first).min().unwrap_or(first);
            }
            if sighting.last == part.to {
                sighting.last = exact.iter().filter(same).map(|exact| exact.last).max().unwrap_or(part.to);
            }
        }
    }
    Ok(())
}
