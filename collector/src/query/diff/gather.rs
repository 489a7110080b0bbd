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
    let (whole, hosts, plan) = side(store, selection)?;
    Ok(SideProfile { units: units(store, selection, &hosts, plan)?, ..whole })
}

/// The same without the parts: what a tree alone is made of.
///
/// # Errors
/// Those of the store.
pub fn gather_whole(store: &dyn Store, selection: &Selection) -> Result<SideProfile, StoreError> {
    Ok(side(store, selection)?.0)
}

/// Hosts with the steps in which they were there.
type Presence = BTreeMap<String, Vec<bool>>;

fn side(store: &dyn Store, selection: &Selection) -> Result<(SideProfile, Presence, Plan), StoreError> {
    let merged = store.merged(selection)?;
    let by_hour = selection.window.from < store.status()?.raw_from;
    let step = Plan::of(selection.window, 1, by_hour).step;
    let mut selected = steps(store, selection, step)?;
    selected.retain(|_, seen| seen.contains(&true));
    let mut reported = reported(store, selection, step, &selected)?;
    let by_version = selection.selector.labels().any(|name| name == label::VERSION);
    let mut hosts = Presence::new();
    for (host, seen) in selected {
        let mut there = presence(&reported.remove(&host).unwrap_or_default(), step);
        if by_version {
            let (first, last) = ends(&seen);
            there.iter_mut().enumerate().for_each(|(place, there)| *there &= first <= place && place <= last);
        }
        hosts.insert(host, there);
    }
    let plan = Plan::of(selection.window, hosts.len(), by_hour);
    let any: Vec<bool> =
        hosts.values().cloned().reduce(|any, there| any.iter().zip(there).map(|(any, there)| *any || there).collect()).unwrap_or_default();
    let within = |there: &[bool]| seconds(there, plan.step, selection.window, selection.window);
    let host_seconds = hosts.values().map(|there| within(there)).sum();
    let side = SideProfile { merged, host_seconds, seconds: within(&any), hosts: hosts.len(), files: false, units: Vec::new() };
    Ok((side, hosts, plan))
}

/// Hosts with the steps in which they have samples of a selection.
fn steps(store: &dyn Store, selection: &Selection, step: u64) -> Result<BTreeMap<String, Vec<bool>>, StoreError> {
    let series = store.time_series(selection, label::HOST, step)?.by_value;
    Ok(series.into_iter().map(|(host, values)| (host, values.iter().map(|value| *value > 0).collect())).collect())
}

/// Hosts with the steps in which they reported anything: by their ledgers, of which there are far fewer than samples; where a host that is
/// selected has none (what sends is no agent of ours), by everything that all hosts sent.
fn reported(
    store: &dyn Store,
    selection: &Selection,
    step: u64,
    selected: &BTreeMap<String, Vec<bool>>,
) -> Result<BTreeMap<String, Vec<bool>>, StoreError> {
    let known = store.reported(selection.window, step)?;
    match known.filter(|known| selected.keys().all(|host| known.contains_key(host))) {
        Some(known) => Ok(known),
        None => steps(store, &Selection { selector: Selector::default(), ..selection.clone() }, step),
    }
}

/// Steps in which a host was there: from the first to the last in which it reported, without long silences.
fn presence(reported: &[bool], step: u64) -> Vec<bool> {
    let mut there = reported.to_vec();
    let short = usize::try_from(SILENCE / step.max(1)).unwrap_or(0);
    let mut last = None;
    for place in 0..there.len() {
        if reported[place] {
            if let Some(last) = last.filter(|last| place - last <= short) {
                there[last..place].fill(true);
            }
            last = Some(place);
        }
    }
    there
}

fn ends(seen: &[bool]) -> (usize, usize) {
    let place = |found: Option<usize>| found.unwrap_or_default();
    (place(seen.iter().position(|seen| *seen)), place(seen.iter().rposition(|seen| *seen)))
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
    for chunk in plan.chunks(selection.window) {
        let timed = hosts.iter().step_by(every).map(|(host, there)| (host, seconds(there, plan.step, selection.window, chunk)));
        let (names, times): (Vec<&str>, Vec<f64>) = timed.filter(|(_, time)| *time > 0.0).map(|(host, time)| (host.as_str(), time)).unzip();
        let merged = store.merged_by_host(&Selection { window: chunk, ..selection.clone() }, &names)?;
        let parts = names.into_iter().zip(times).zip(merged);
        units.extend(parts.map(|((host, seconds), merged)| Unit { host: host.to_owned(), seconds, merged }));
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Short silences are idleness, long ones absence; nothing before the first or after the last sample.
    #[test]
    fn who_was_there() {
        let seen = [false, true, false, false, true, false];
        assert_eq!(presence(&seen, 10 * SECOND), [false, true, true, true, true, false]);
        let long: Vec<bool> = [true].into_iter().chain([false; 10]).chain([true]).collect();
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
