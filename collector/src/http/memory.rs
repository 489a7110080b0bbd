//! `GET /api/v1/memory`: which services' memory grows, and what each has.

use std::collections::BTreeMap;

use flamekeeper_profile::growth::{Growth, Trend, seconds_until};
use flamekeeper_profile::memory::{MemoryKind, readable as bytes};
use serde::Serialize;

use super::QueryState;
use super::answer::{Answer, Body};
use super::error::ApiError;
use super::params::Params;
use crate::growth::{self, Found, Limit, Question, Service};

/// Services that are told where nobody says how many, and at most.
const DEFAULT_SERVICES: usize = 100;
const MOST_SERVICES: usize = 1000;

#[derive(Serialize)]
struct MemoryJson {
    from: f64,
    to: f64,
    step: f64,
    growing: usize,
    services_total: usize,
    services: Vec<ServiceJson>,
}

#[derive(Serialize)]
struct ServiceJson {
    service: String,
    verdict: &'static str,
    evidence: String,
    level: f64,
    slope: f64,
    low: f64,
    high: f64,
    points: usize,
    from: f64,
    to: f64,
    limit: Option<LimitJson>,
    killed: u64,
    levels: BTreeMap<&'static str, Vec<u64>>,
}

#[derive(Serialize)]
struct LimitJson {
    of: &'static str,
    bytes: f64,
    left: f64,
    /// Seconds until nothing is left, at the slope and at both ends of its interval; null where it does not grow.
    seconds: Option<f64>,
    earliest: Option<f64>,
    latest: Option<f64>,
}

pub(super) fn answer(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let service = params.text("service").unwrap_or_default();
    let fits = |count: &usize| (1..=MOST_SERVICES).contains(count);
    let limit = params.value("limit", "a whole number of services from 1 to 1000", fits)?.unwrap_or(DEFAULT_SERVICES);
    let question = Question { window: params.window()?, service, now: (state.now)() };
    let closed = params.finish()?;
    let Found { window, step, services } = growth::find(&*state.store, &question)?;
    let growing = services.iter().filter(|service| service.growth.trend == Trend::Grows).count();
    let services_total = services.len();
    // The kinds apart are for who looks at one.
    let kinds: &[MemoryKind] = if question.service.is_empty() { &[MemoryKind::Resident] } else { &MemoryKind::ALL };
    let body = serde_json::to_vec(&MemoryJson {
        from: window.from.as_seconds(),
        to: window.to.as_seconds(),
        step: step as f64 / 1e9,
        growing,
        services_total,
        services: services.into_iter().take(limit).map(|service| told(service, kinds)).collect(),
    })?;
    Ok(Answer { body: Body::Json(body), closed })
}

fn told(mut service: Service, kinds: &[MemoryKind]) -> ServiceJson {
    let growth = service.growth;
    let limit = service.limit.map(|limit| limit_json(limit, &growth));
    let levels = kinds.iter().map(|kind| (kind.as_str(), std::mem::take(&mut service.levels[*kind as usize])));
    ServiceJson {
        verdict: growth.trend.as_str(),
        evidence: evidence(&growth, limit.as_ref()),
        level: growth.level,
        slope: growth.slope,
        low: growth.low,
        high: growth.high,
        points: growth.points,
        from: service.judged.from.as_seconds(),
        to: service.judged.to.as_seconds(),
        limit,
        killed: service.killed,
        levels: levels.collect(),
        service: service.service,
    }
}

fn limit_json(limit: Limit, growth: &Growth) -> LimitJson {
    let grows = growth.trend == Trend::Grows;
    let until = |slope| seconds_until(limit.left, 0.0, slope).filter(|_| grows);
    let (seconds, earliest, latest) = (until(growth.slope), until(growth.high), until(growth.low));
    LimitJson { of: limit.of, bytes: limit.bytes, left: limit.left, seconds, earliest, latest }
}

/// The verdict's reasons in words.
fn evidence(growth: &Growth, limit: Option<&LimitJson>) -> String {
    let Growth { slope, low, high, points, independent, seconds, .. } = *growth;
    let rate = |slope: f64| format!("{}/s", bytes(slope));
    match growth.trend {
        Trend::Grows => {
            let what = format!(
                "grows by {} (95 % interval {} to {}) over {}, {points} points worth {independent:.0} independent ones",
                rate(slope),
                rate(low),
                rate(high),
                span(seconds)
            );
            let limit = limit.and_then(|limit| Some((limit.of, limit.left, limit.seconds?, limit.earliest?, limit.latest?)));
            limit.map_or(what.clone(), |(of, left, at, earliest, latest)| {
                format!(
                    "{what}; the {} that are left of the {of}'s memory last {} ({} to {})",
                    bytes(left),
                    span(at),
                    span(earliest),
                    span(latest)
                )
            })
        }
        Trend::Flat => format!("{points} points over {} hold no growth that goes on ({} to {})", span(seconds), rate(low), rate(high)),
        Trend::TooEarly if independent > 0.0 => format!(
            "{points} points over {}, worth {independent:.0} independent ones, hold growth and none as well ({} to {})",
            span(seconds),
            rate(low),
            rate(high)
        ),
        Trend::TooEarly => format!("{points} points after its start are too few"),
    }
}

/// A time in the unit that reads well.
fn span(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.1} h", seconds / 3600.0),
        seconds => format!("{:.1} d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Growth is told with its interval and what is left, anything else with why it is none.
    #[test]
    fn words() {
        let mib = f64::from(1 << 20);
        let growth = Growth {
            trend: Trend::Grows,
            slope: mib,
            low: 0.5 * mib,
            high: 2.0 * mib,
            level: 100.0 * mib,
            points: 87,
            independent: 43.4,
            seconds: 870.0,
        };
        let limit = limit_json(Limit { of: "host", bytes: 8192.0 * mib, left: 3600.0 * mib }, &growth);
        assert_eq!((limit.seconds, limit.earliest, limit.latest), (Some(3600.0), Some(1800.0), Some(7200.0)));
        let told = evidence(&growth, Some(&limit));
        let expected = "grows by 1.0 MiB/s (95 % interval 512.0 KiB/s to 2.0 MiB/s) over 14 min, 87 points worth 43 independent ones; \
            the 3.5 GiB that are left of the host's memory last 60 min (30 min to 2.0 h)";
        assert_eq!(told, expected);
        let flat = Growth { trend: Trend::Flat, low: -10.0, high: 7.0, ..growth };
        assert_eq!(evidence(&flat, None), "87 points over 14 min hold no growth that goes on (-10 B/s to 7 B/s)");
        assert_eq!(limit_json(Limit { of: "cgroup", bytes: 1.0, left: 1.0 }, &flat).seconds, None);
        assert!(evidence(&Growth { trend: Trend::TooEarly, points: 4, independent: 0.0, ..growth }, None).ends_with("too few"));
    }
}
