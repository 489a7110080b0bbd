//! Which services' memory grows, how fast, how sure that is, and when it meets its limit.
//!
//! Judged is what the kernel cannot drop: anonymous memory and what of it is in swap. Pages of files come and go with what else the host
//! does, and shared memory would count once for each process that has touched it. Points are means of closed steps; a service's first
//! step, which is cut off, is left out, and where it began within the window the first quarter of its time, in which programs warm up.

use std::collections::{BTreeMap, BTreeSet};

use flamekeeper_profile::growth::{Growth, Point, Trend, judge};
use flamekeeper_profile::memory::{MemoryEvent, MemoryKind, mean_bytes};
use flamekeeper_profile::{Figure, Timestamp, Window, label};

use crate::selector::Selector;
use crate::store::{Selection, SeriesSummary, Store, StoreError};

/// Points of a service at most.
const MOST_POINTS: u64 = 240;
/// Steps that points can be apart, in seconds.
const STEPS: [u64; 10] = [10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600];
/// How long after its end a step is closed: agents have sent their windows by then.
const CLOSED_AFTER: u64 = 20 * Timestamp::SECOND;
/// The part of its time that a service that began within the window warms up in.
const WARM_UP: usize = 4;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where to look.
    pub window: Window,
    /// One service; empty for all.
    pub service: String,
    /// The wall clock.
    pub now: Timestamp,
}

/// What memory meets when it grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Whose it is: `cgroup` or `host`.
    pub of: &'static str,
    /// Bytes that there are in all.
    pub bytes: f64,
    /// Bytes that are left.
    pub left: f64,
}

/// A service's memory over time.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub service: String,
    /// How the memory that cannot be dropped goes.
    pub growth: Growth,
    /// The first and the end of the last step that it was judged by; empty where it was not.
    pub judged: Window,
    /// What is left least of: the limits of its cgroups, or the memory of its hosts; none where neither is told.
    pub limit: Option<Limit>,
    /// Processes that were killed in the window for want of memory, as its cgroups tell it.
    pub killed: u64,
    /// Bytes in each step of [`Found::window`], by the place of the kind in [`MemoryKind::ALL`]; empty where there was none.
    pub levels: [Vec<u64>; MemoryKind::ALL.len()],
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Whole steps.
    pub window: Window,
    /// Nanoseconds.
    pub step: u64,
    /// What grows first, the fastest before others; then what it is too early to tell of, then the others by what they have.
    pub services: Vec<Service>,
}

/// Judges all services, or the one that is asked for.
///
/// # Errors
/// Those of the store.
pub fn find(store: &dyn Store, question: &Question) -> Result<Found, StoreError> {
    let (window, step) = steps(question);
    let mut levels: BTreeMap<String, [Vec<u64>; MemoryKind::ALL.len()]> = BTreeMap::new();
    let selector = match &*question.service {
        "" => Selector::default(),
        service => Selector::default().with_equal(label::SERVICE, service),
    };
    for kind in MemoryKind::ALL {
        let selection = Selection { window, profile_type: kind.as_str().to_owned(), selector: selector.clone() };
        for (service, sums) in store.time_series(&selection, label::SERVICE, step)?.by_value {
            levels.entry(service).or_default()[kind as usize] = sums.into_iter().map(|sum| mean_bytes(sum, step)).collect();
        }
    }
    let hosts = hosts(store, question, window)?;
    let kills = Selection { window, profile_type: MemoryEvent::OomKills.as_str().to_owned(), selector };
    let killed = store.time_series(&kills, label::SERVICE, step)?.by_value;
    let killed: BTreeMap<String, u64> =
        killed.into_iter().map(|(service, counts)| (service, counts.into_iter().fold(0, u64::saturating_add))).collect();
    let services = levels.into_iter().map(|(service, levels)| {
        let (growth, judged) = grown(&levels, window.from, step);
        let newest = |kind: MemoryKind| levels[kind as usize].iter().rev().copied().find(|level| *level > 0);
        let cgroup = newest(MemoryKind::Limit).map(|bytes| {
            let anonymous = newest(MemoryKind::Anonymous).unwrap_or_default();
            Limit { of: "cgroup", bytes: bytes as f64, left: bytes.saturating_sub(anonymous) as f64 }
        });
        let limits = cgroup.into_iter().chain(hosts.get(&service).copied());
        let limit = limits.min_by(|a, b| a.left.total_cmp(&b.left));
        let killed = killed.get(&service).copied().unwrap_or_default();
        Service { service, growth, judged, limit, killed, levels }
    });
    let mut services: Vec<_> = services.collect();
    services.sort_by(|a, b| {
        let rank = |service: &Service| if service.growth.trend == Trend::Flat { service.growth.level } else { service.growth.slope };
        a.growth.trend.cmp(&b.growth.trend).then_with(|| rank(b).total_cmp(&rank(a)))
    });
    Ok(Found { window, step, services })
}

/// The closed steps of the asked window.
fn steps(question: &Question) -> (Window, u64) {
    let Window { from, to } = question.window;
    let to = to.min(question.now.saturating_sub(CLOSED_AFTER));
    let duration = to.0.saturating_sub(from.0);
    let step = STEPS.into_iter().map(|seconds| seconds * Timestamp::SECOND).find(|step| duration.div_ceil(*step) <= MOST_POINTS);
    // As many days as it takes.
    let day = 86_400 * Timestamp::SECOND;
    let step = step.unwrap_or_else(|| duration.div_ceil(MOST_POINTS).div_ceil(day).saturating_mul(day).max(day));
    let (first, last) = (from.saturating_add(step - 1).align_down(step), to.align_down(step));
    (Window::new(first, last.max(first)), step)
}

/// How the memory goes that cannot be dropped, and in which part of the window that was judged.
fn grown(levels: &[Vec<u64>; MemoryKind::ALL.len()], from: Timestamp, step: u64) -> (Growth, Window) {
    let [anonymous, swap] = [MemoryKind::Anonymous, MemoryKind::Swap].map(|kind| &levels[kind as usize]);
    let of = |values: &[u64], place: usize| values.get(place).copied().unwrap_or_default();
    let sums: Vec<u64> = (0..anonymous.len().max(swap.len())).map(|place| of(anonymous, place).saturating_add(of(swap, place))).collect();
    let is_there = |sum: &u64| *sum > 0;
    let (Some(first), Some(last)) = (sums.iter().position(is_there), sums.iter().rposition(is_there)) else {
        return (judge(&[]), Window::new(from, from));
    };
    // What was there when the window began is whole in its first step.
    let began = if first == 0 { 0 } else { first + 1 + (last - first) / WARM_UP };
    // One that has ended is cut off in its last step.
    let end = if last + 1 == sums.len() { last + 1 } else { last };
    let at = |place: usize| from.saturating_add(step.saturating_mul(place as u64));
    let places = began..end.max(began);
    let points = places.clone().zip(sums.get(places.clone()).unwrap_or_default()).filter(|(_, sum)| is_there(sum));
    let points: Vec<_> = points.map(|(place, sum)| Point { at: at(place).as_seconds() - from.as_seconds(), level: *sum as f64 }).collect();
    (judge(&points), Window::new(at(places.start), at(places.end)))
}

/// The memory of the hosts that each service runs on.
fn hosts(store: &dyn Store, question: &Question, window: Window) -> Result<BTreeMap<String, Limit>, StoreError> {
    let mut known: BTreeMap<String, Limit> = BTreeMap::new();
    for host in store.hosts(window)? {
        let [bytes, left] = [Figure::HostMemoryBytes, Figure::HostAvailableBytes].map(|figure| host.figures.get(figure));
        if let (Some(bytes), Some(left)) = (bytes, left) {
            known.insert(host.labels.get(label::HOST).to_owned(), Limit { of: "host", bytes: bytes as f64, left: left as f64 });
        }
    }
    let mut runs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for series in store.series(window)?.into_iter().filter(SeriesSummary::is_of_a_host) {
        let service = series.labels.get(label::SERVICE);
        if question.service.is_empty() || question.service == service {
            runs.entry(service.to_owned()).or_default().insert(series.labels.get(label::HOST).to_owned());
        }
    }
    let sum = |hosts: BTreeSet<String>| {
        let limits: Option<Vec<_>> = hosts.iter().map(|host| known.get(host).copied()).collect();
        limits?.into_iter().reduce(|a, b| Limit { of: a.of, bytes: a.bytes + b.bytes, left: a.left + b.left })
    };
    Ok(runs.into_iter().filter_map(|(service, hosts)| Some((service, sum(hosts)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = Timestamp::SECOND;
    const MIB: u64 = 1 << 20;

    /// Steps are whole, closed, and no more than are judged.
    #[test]
    fn steps_are_closed() {
        let of = |from: u64, to: u64, now: u64| {
            let window = Window::new(Timestamp(from * SECOND), Timestamp(to * SECOND));
            let (window, step) = steps(&Question { window, service: String::new(), now: Timestamp(now * SECOND) });
            (window.from.0 / SECOND, window.to.0 / SECOND, step / SECOND)
        };
        assert_eq!(of(1003, 1903, 1903), (1010, 1880, 10));
        assert_eq!(of(1003, 1903, 5000), (1010, 1900, 10));
        assert_eq!(of(7200, 93_600, 200_000), (7200, 93_600, 600));
        assert_eq!(of(1000, 1005, 5000), (1000, 1000, 10));
        assert_eq!(of(0, 400 * 86_400, 500 * 86_400).2, 2 * 86_400);
    }

    fn of(levels: impl Iterator<Item = u64>) -> (Growth, Window) {
        let mut kinds: [Vec<u64>; MemoryKind::ALL.len()] = Default::default();
        kinds[MemoryKind::Anonymous as usize] = levels.collect();
        grown(&kinds, Timestamp(1000 * SECOND), 10 * SECOND)
    }

    /// A start is left out with its warm-up; what has ended without its last step; a gap is no level.
    #[test]
    fn edges() {
        let started = of((0..90).map(|place| {
            if place < 10 {
                0
            } else if place < 20 {
                place * 100 * MIB
            } else {
                2000 * MIB
            }
        }));
        assert_eq!((started.0.trend, started.1.from.0 / SECOND), (Trend::Flat, 1000 + 10 * (11 + 19)));
        let ended = of((0..90).map(|place| if place > 60 { 0 } else { (100 + place * 10) * MIB }));
        assert_eq!((ended.0.trend, ended.0.points, ended.1.to.0 / SECOND), (Trend::Grows, 60, 1600));
        let gap = of((0..90).map(|place| if (30..50).contains(&place) { 0 } else { (100 + place * 10) * MIB }));
        assert_eq!((gap.0.trend, gap.0.points), (Trend::Grows, 70));
        assert!((gap.0.slope / MIB as f64 - 1.0).abs() < 1e-6);
        assert_eq!(of((0..90).map(|_| 0)).0.trend, Trend::TooEarly);
    }
}
