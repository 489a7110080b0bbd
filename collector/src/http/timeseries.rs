//! `GET /api/v1/timeseries`.

use std::cmp::Reverse;

use flamekeeper_profile::{Timestamp, Window, label};
use serde::Serialize;

use super::QueryState;
use super::answer::{Answer, Body};
use super::error::ApiError;
use super::params::Params;
use crate::render::CompletenessJson;

/// Points that the default step makes at most.
const DEFAULT_POINTS: u64 = 240;
/// Points that may be asked for.
const MOST_POINTS: u64 = 11_000;
/// Steps that read well on an axis, in seconds; from 10, the length of a stored window.
const STEPS: [u64; 15] = [10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400];

#[derive(Serialize)]
struct TimeSeriesJson {
    from: f64,
    to: f64,
    unit: String,
    step: f64,
    points: u64,
    series: Vec<SeriesJson>,
    rest: Vec<u64>,
    completeness: CompletenessJson,
}

#[derive(Serialize)]
struct SeriesJson {
    label: String,
    values: Vec<u64>,
}

pub(super) fn answer(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let selection = params.selection()?;
    let by = params.text("by").unwrap_or_else(|| label::SERVICE.into());
    let limit = params.value("limit", "a whole number of series", |_| true)?.unwrap_or(12);
    let step = params.value("step", "a number of seconds greater than 0", |step: &f64| *step > 0.0 && step.is_finite())?;
    let closed = params.finish()?;
    let window = selection.window;
    let (step, points) = steps(window, step)?;
    let found = super::level::time_series(state, &selection, &by, step)?;
    let (series, rest) = split(found.by_value.into_iter().collect(), limit, usize::try_from(points).unwrap_or(usize::MAX));
    let body = serde_json::to_vec(&TimeSeriesJson {
        from: window.from.as_seconds(),
        to: window.to.as_seconds(),
        unit: found.unit,
        step: Timestamp(step).as_seconds(),
        points,
        series,
        rest,
        completeness: CompletenessJson::without_names(&found.completeness),
    })?;
    Ok(Answer { body: Body::Json(body), closed })
}

/// The step in nanoseconds, and how many of them cover the window.
fn steps(window: Window, asked_seconds: Option<f64>) -> Result<(u64, u64), ApiError> {
    let step = match asked_seconds {
        Some(seconds) => Timestamp::from_seconds(seconds).0.max(1),
        None => default_step(window.duration()),
    };
    let points = window.duration().div_ceil(step);
    if points > MOST_POINTS {
        let message = format!("this step makes {points} points, more than {MOST_POINTS}; use a longer step or a shorter window");
        return Err(ApiError::Parameter(message));
    }
    Ok((step, points))
}

fn default_step(duration: u64) -> u64 {
    let day = 86_400 * Timestamp::SECOND;
    let least = duration.div_ceil(DEFAULT_POINTS);
    let step = STEPS.into_iter().map(|seconds| seconds * Timestamp::SECOND).find(|step| *step >= least);
    step.unwrap_or_else(|| least.div_ceil(day).saturating_mul(day))
}

/// The series with the greatest sums, and the sum of all others. Each has `points` values.
fn split(mut series: Vec<(String, Vec<u64>)>, limit: usize, points: usize) -> (Vec<SeriesJson>, Vec<u64>) {
    let sum = |values: &[u64]| values.iter().fold(0_u64, |sum, value| sum.saturating_add(*value));
    // Stable: equal sums stay in the order of their labels.
    series.sort_by_key(|(_, values)| Reverse(sum(values)));
    let mut rest = vec![0_u64; points];
    for (_, values) in series.split_off(limit.min(series.len())) {
        for (rest, value) in rest.iter_mut().zip(values) {
            *rest = rest.saturating_add(value);
        }
    }
    let shown = series.into_iter().map(|(label, mut values)| {
        values.resize(points, 0);
        SeriesJson { label, values }
    });
    (shown.collect(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default step makes at most 240 points and is one that reads well.
    #[test]
    fn default_steps() {
        for (seconds, step) in [(5, 10), (900, 10), (2400, 10), (2401, 20), (86_400, 600), (7 * 86_400, 3600), (400 * 86_400, 2 * 86_400)] {
            let window = Window::new(Timestamp(0), Timestamp(seconds * Timestamp::SECOND));
            let (found, points) = steps(window, None).unwrap();
            assert_eq!(found, step * Timestamp::SECOND, "{seconds} s");
            assert!(points <= DEFAULT_POINTS);
        }
        let day = Window::new(Timestamp(0), Timestamp(86_400 * Timestamp::SECOND));
        assert!(steps(day, Some(1.0)).is_err());
        assert!(steps(day, Some(1e-300)).is_err());
        assert_eq!(steps(day, Some(1e300)).unwrap().1, 1);
    }

    /// The heaviest are shown; nothing of the others is lost.
    #[test]
    fn rest_holds_the_others() {
        let series = vec![("a".into(), vec![1, 2]), ("b".into(), vec![5, 5]), ("c".into(), vec![3, 1])];
        let (shown, rest) = split(series, 1, 2);
        assert_eq!((shown[0].label.as_str(), &shown[0].values, rest), ("b", &vec![5, 5], vec![4, 3]));
    }
}
