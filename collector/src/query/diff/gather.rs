//! Asks a store for the two sides of a diff.

use std::collections::BTreeMap;

use flamekeeper_profile::{Timestamp, Window, label};

use super::{SideProfile, Unit};
use crate::selector::Selector;
use crate::store::{Selection, Store, StoreError};

const SECOND: u64 = Timestamp::SECOND;
const HOUR: u64 = 3600 * SECOND;
/// Length of a stored window.
const LEAST_STEP: u64 = 10 * SECOND;
/// Steps in which a window is looked at to see which hosts reported.
const MOST_STEPS: u64 = 240;
/// A host that is silent for this long is away; for less it was idle.
const SILENCE: u64 = 60 * SECOND;
/// Hosts that the spread is estimated from.
const MOST_HOSTS: usize = 16;
/// Units on a side that are aimed at.
const UNITS: u64 = 12;
/// Chunks of a window at most.
const MOST_CHUNKS: u64 = 8;

/// How a side's window is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Nanoseconds of a step: in it a host reported or did not.
    pub step: u64,
    /// Nanoseconds of a chunk, a multiple of the step.
    pub chunk: u64,
}

impl Plan {
    /// For a window with so many hosts; `by_hour` where single windows are not kept any more.
    #[must_use]
    pub fn of(window: Window, hosts: usize, by_hour: bool) -> Self {
        let step = window.duration().div_ceil(MOST_STEPS).next_multiple_of(LEAST_STEP).max(if by_hour { HOUR } else { LEAST_STEP });
        let hosts = u64::try_from(hosts.clamp(1, MOST_HOSTS)).unwrap_or(1);
        let chunks = UNITS.div_ceil(hosts).clamp(2, MOST_CHUNKS);
        let chunk = window.duration().div_ceil(chunks).next_multiple_of(step);
        Self { step, chunk }
    }

    /// The chunks of a window; the last one may be shorter.
    pub fn chunks(self, window: Window) -> impl Iterator<Item = Window> {
        let starts = (0..).map(move |number: u64| window.from.saturating_add(number.saturating_mul(self.chunk)));
        starts.take_while(move |from| *from < window.to).map(move |from| Window::new(from, from.saturating_add(self.chunk).min(window.to)))
    }
}

/// One side: everything that is selected, how long its hosts reported, and parts of it that show how it spreads.
///
/// A host counts from when it has samples of the selection, and for as long as it reported anything in the window. Where the selection
/// is about a version, it counts only from the first to the last sample of it.
///
/// # Errors
/// Those of the store.
pub fn gather(store: &dyn Store, selection: &Selection) -> Result<SideProfile, StoreError> {
    let merged = store.merged(selection)?;
    let by_hour = selection.window.from < store.status()?.raw_from;
    let step = Plan::of(selection.window, 1, by_hour).step;
    let all = Selection { selector: Selector::default(), ..selection.clone() };
    let mut reported = store.time_series(&all, label::HOST, step)?.by_value;
    let selected = store.time_series(selection, label::HOST, step)?.by_value;
    let by_version = selection.selector.labels().any(|name| name == label::VERSION);
    let mut hosts: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for (host, values) in selected.into_iter().filter(|(_, values)| values.iter().any(|value| *value > 0)) {
        let mut there = presence(&reported.remove(&host).unwrap_or_default(), step);
        if by_version {
            let (first, last) = ends(&values);
            there.iter_mut().enumerate().for_each(|(place, there)| *there &= first <= place && place <= last);
        }
        hosts.insert(host, there);
    }
    let plan = Plan::of(selection.window, hosts.len(), by_hour);
    let host_seconds = hosts.values().map(|there| seconds(there, plan.step, selection.window, selection.window)).sum();
    let units = units(store, selection, &hosts, plan)?;
    Ok(SideProfile { merged, host_seconds, hosts: hosts.len(), files: false, units })
}

/// Steps in which a host was there: from the first to the last in which it reported, without long silences.
fn presence(values: &[u64], step: u64) -> Vec<bool> {
    let mut there: Vec<bool> = values.iter().map(|value| *value > 0).collect();
    let short = usize::try_from(SILENCE / step.max(1)).unwrap_or(0);
    let mut last = None;
    for place in 0..there.len() {
        if values[place] > 0 {
            if let Some(last) = last.filter(|last| place - last <= short) {
                there[last..place].fill(true);
            }
            last = Some(place);
        }
    }
    there
}

fn ends(values: &[u64]) -> (usize, usize) {
    let place = |found: Option<usize>| found.unwrap_or_default();
    (place(values.iter().position(|value| *value > 0)), place(values.iter().rposition(|value| *value > 0)))
}

/// Seconds of a part of the window in which a host was there.
fn seconds(there: &[bool], step: u64, window: Window, part: Window) -> f64 {
    let steps =
        (0_u64..).zip(there).filter(|(_, there)| **there).map(|(number, _)| window.from.saturating_add(number.saturating_mul(step)));
    let within = |from: Timestamp| Window::new(from.max(part.from), from.saturating_add(step).min(part.to)).duration();
    Timestamp(steps.map(within).sum()).as_seconds()
}

fn units(store: &dyn Store, selection: &Selection, hosts: &BTreeMap<String, Vec<bool>>, plan: Plan) -> Result<Vec<Unit>, StoreError> {
    // Spread over the names, so that not only one group of hosts is looked at. Both sides with the same hosts choose the same.
    let every = hosts.len().div_ceil(MOST_HOSTS).max(1);
    let mut units = Vec::new();
    for (host, there) in hosts.iter().step_by(every) {
        for chunk in plan.chunks(selection.window) {
            let seconds = seconds(there, plan.step, selection.window, chunk);
            if seconds <= 0.0 {
                continue;
            }
            let selector = selection.selector.clone().with_equal(label::HOST, host);
            let part = Selection { window: chunk, profile_type: selection.profile_type.clone(), selector };
            units.push(Unit { host: host.clone(), seconds, merged: store.merged(&part)? });
        }
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Short silences are idleness, long ones absence; nothing before the first or after the last sample.
    #[test]
    fn who_was_there() {
        assert_eq!(presence(&[0, 5, 0, 0, 3, 0], 10 * SECOND), [false, true, true, true, true, false]);
        let long: Vec<u64> = [1].into_iter().chain([0; 10]).chain([1]).collect();
        assert_eq!(presence(&long, 10 * SECOND).iter().filter(|there| **there).count(), 2);
        let window = Window::new(Timestamp(0), Timestamp(25 * SECOND));
        assert!((seconds(&[true, true, true], 10 * SECOND, window, window) - 25.0).abs() < 1e-9);
    }

    /// Few hosts are divided into many chunks, many hosts into few; chunks cover the window.
    #[test]
    fn plans() {
        let window = Window::new(Timestamp(0), Timestamp(HOUR));
        assert_eq!(Plan::of(window, 1, false), Plan { step: 20 * SECOND, chunk: 460 * SECOND });
        assert_eq!(Plan::of(window, 200, false).chunks(window).count(), 2);
        let chunks: Vec<Window> = Plan::of(window, 3, false).chunks(window).collect();
        assert_eq!((chunks.len(), chunks[3].to), (4, window.to));
        assert_eq!(Plan::of(Window::new(Timestamp(0), Timestamp(48 * HOUR)), 1, true).step, HOUR);
    }
}
