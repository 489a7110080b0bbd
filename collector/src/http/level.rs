//! Levels: types whose values say what there was at the end of each window (`inuse_space`), not what came in it; and those that are stored as
//! a sum over time (`memory_rss`: [`memory`]), which are answered as the mean over the time that is asked for.
//!
//! Over time they must not be added up. A flamegraph of a level is the newest one in the asked window: that of the last stored window with
//! anything selected in it. A time series has in each step the newest level of that step.

use std::collections::BTreeMap;

use flamekeeper_profile::{Merged, SampleType, Timestamp, Value, Window, memory};

use super::QueryState;
use super::error::ApiError;
use crate::store::{MergedProfile, Selection, TimeSeries};

/// The shortest stored window: levels are looked for at this grain.
const GRAIN: u64 = Timestamp::SECOND;
/// How far back from the end of the asked window a level is looked for. Windows are 10 s by default.
const LOOK_BACK: u64 = 180 * Timestamp::SECOND;
/// The longest window that levels are drawn over in time.
const LONGEST: u64 = 7200 * Timestamp::SECOND;

/// The part of a selection that is answered: all of it, or for a level the newest stored window.
pub(super) fn narrow(state: &QueryState, selection: Selection) -> Result<Selection, ApiError> {
    if !SampleType::is_level(&selection.profile_type) {
        return Ok(selection);
    }
    let Window { from, to } = selection.window;
    let begin = Timestamp(from.0.max(to.0.saturating_sub(LOOK_BACK))).align_down(GRAIN);
    let looked = Selection { window: Window::new(begin, to), ..selection };
    let found = state.store.time_series(&looked, "", GRAIN)?;
    let newest = found.by_value.values().filter_map(|values| values.iter().rposition(|value| *value > 0)).max();
    let from = newest.and_then(|place| u64::try_from(place).ok()).map_or(begin, |place| begin.saturating_add(place * GRAIN));
    Ok(Selection { window: Window::new(from, from.saturating_add(GRAIN)), ..looked })
}

/// The values of a selection by steps.
pub(super) fn time_series(state: &QueryState, selection: &Selection, by: &str, step: u64) -> Result<TimeSeries, ApiError> {
    if !SampleType::is_level(&selection.profile_type) || step <= GRAIN {
        return Ok(mean_of_steps(state.store.time_series(selection, by, step)?, selection.window, step));
    }
    let seconds = selection.window.duration() / Timestamp::SECOND;
    if selection.window.duration() > LONGEST {
        let (name, limit) = (&selection.profile_type, LONGEST / Timestamp::SECOND);
        return Err(ApiError::Parameter(format!("{name} is drawn over {limit} s at most, and this window is {seconds} s long")));
    }
    let fine = state.store.time_series(selection, by, GRAIN)?;
    let grains = usize::try_from(step / GRAIN).unwrap_or(usize::MAX).max(1);
    let newest = |values: &[u64]| values.iter().rev().find(|value| **value > 0).copied().unwrap_or_default();
    let coarse = |values: Vec<u64>| values.chunks(grains).map(newest).collect();
    let by_value: BTreeMap<_, _> = fine.by_value.into_iter().map(|(label, values)| (label, coarse(values))).collect();
    Ok(TimeSeries { by_value, unit: fine.unit, completeness: fine.completeness })
}

/// A sum over time as the mean over the window.
pub(super) fn mean(mut found: MergedProfile, window: Window) -> MergedProfile {
    if found.unit != memory::UNIT {
        return found;
    }
    let tables = std::mem::take(&mut found.merged.tables);
    let mut merged = Merged::new();
    merged.tables = tables;
    for (stack, value) in found.merged.values() {
        merged.add_value(stack, Value { weight: memory::mean_bytes(value.weight, window.duration()), ..value });
    }
    MergedProfile { merged, unit: memory::answered_unit(memory::UNIT).to_owned(), ..found }
}

/// Sums over time as the means of their steps; the last step may be cut off by the window's end.
fn mean_of_steps(mut found: TimeSeries, window: Window, step: u64) -> TimeSeries {
    if found.unit != memory::UNIT {
        return found;
    }
    memory::answered_unit(memory::UNIT).clone_into(&mut found.unit);
    for values in found.by_value.values_mut() {
        let mut left = window.duration();
        for value in values {
            *value = memory::mean_bytes(*value, left.min(step));
            left = left.saturating_sub(step);
        }
    }
    found
}
