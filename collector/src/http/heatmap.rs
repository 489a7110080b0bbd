//! `GET /api/v1/heatmap`.

use flamekeeper_profile::Timestamp;
use flamekeeper_profile::subsecond::{PER_SECOND, QUERY_NAME};
use serde::Serialize;

use super::QueryState;
use super::answer::{Answer, Body};
use super::error::ApiError;
use super::params::Params;
use crate::query::heatmap::{heatmap, kept_from};

/// The longest window, in seconds: one column each.
const LONGEST: u64 = 3600;

#[derive(Serialize)]
struct HeatmapJson {
    from: f64,
    seconds: usize,
    rows: u16,
    samples: u64,
    values: Vec<u64>,
}

pub(super) fn answer(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let window = params.window()?;
    let selector = params.selector()?;
    let closed = params.finish()?;
    let seconds = window.duration() / Timestamp::SECOND;
    if seconds > LONGEST {
        return Err(ApiError::Parameter(format!(
            "a heat map has a column for each second of at most {LONGEST}, and this window has {seconds}; choose a shorter one"
        )));
    }
    let kept = kept_from(&*state.store, &selector)?;
    if window.from < kept {
        let message = format!(
            "{QUERY_NAME} is kept from {} s since the epoch on for this selector (as long as minutes for service and version, as long as single windows for all else); choose a later window",
            kept.as_seconds().ceil()
        );
        return Err(ApiError::Parameter(message));
    }
    let map = heatmap(&*state.store, window, &selector)?;
    let body = serde_json::to_vec(&HeatmapJson {
        from: map.from.as_seconds(),
        seconds: map.tenths.len() / usize::from(PER_SECOND),
        rows: PER_SECOND,
        samples: map.tenths.iter().fold(0, |sum, count| sum.saturating_add(*count)),
        values: map.tenths,
    })?;
    Ok(Answer { body: Body::Json(body), closed })
}
