//! From sightings to deploys.

use std::collections::BTreeMap;

use flamekeeper_profile::{Timestamp, Window};

use super::{Mark, Sighting};

/// Versions of one service in one window that are told; one that has more (a build each minute) is cut to the newest.
const MOST_DEPLOYS: usize = 500;
/// A version that starts this long after its service was first seen in the window was not there before.
const SETTLED: u64 = 60 * Timestamp::SECOND;

/// What a deploy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeployKind {
    /// A version that was not seen before.
    Deploy,
    /// A version that was there before another one.
    Rollback,
    /// What somebody said.
    Mark,
}

/// A version on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSpan {
    /// The host.
    pub host: String,
    /// First seen.
    pub first: Timestamp,
    /// Last seen.
    pub last: Timestamp,
}

/// A deploy of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deploy {
    /// Service.
    pub service: String,
    /// The version that came.
    pub version: String,
    /// The version that was there before; empty where none was seen.
    pub previous: String,
    /// What it is.
    pub kind: DeployKind,
    /// When the version was first seen, or the mark's time.
    pub at: Timestamp,
    /// First seen on any host.
    pub first: Timestamp,
    /// First seen on the last host that it came to: the end of the rollout.
    pub rolled_out: Timestamp,
    /// Last seen on any host.
    pub last: Timestamp,
    /// Where it ran.
    pub hosts: Vec<HostSpan>,
    /// Whether the previous version ran beside it.
    pub overlaps: bool,
    /// What a mark says.
    pub text: String,
}

/// Deploys in a window, oldest first. What ran when the window began is no deploy: nothing is known of what was before.
#[must_use]
pub fn find(sightings: &[Sighting], marks: &[Mark], window: Window) -> Vec<Deploy> {
    let mut services: BTreeMap<&str, Vec<&Sighting>> = BTreeMap::new();
    sightings.iter().for_each(|sighting| services.entry(&sighting.service).or_default().push(sighting));
    let mut deploys: Vec<Deploy> = services.into_iter().flat_map(|(service, sightings)| of_service(service, &sightings)).collect();
    deploys.extend(marks.iter().filter(|mark| window.contains(mark.at)).map(of_mark));
    deploys.sort_by(|a, b| (a.at, &a.service, &a.version).cmp(&(b.at, &b.service, &b.version)));
    deploys
}

fn of_mark(mark: &Mark) -> Deploy {
    Deploy {
        service: mark.service.clone(),
        version: mark.version.clone(),
        previous: String::new(),
        kind: DeployKind::Mark,
        at: mark.at,
        first: mark.at,
        rolled_out: mark.at,
        last: mark.at,
        hosts: Vec::new(),
        overlaps: false,
        text: mark.text.clone(),
    }
}

/// A time during which a version ran anywhere without a break.
struct Run<'a> {
    version: &'a str,
    first: Timestamp,
    last: Timestamp,
    hosts: Vec<HostSpan>,
}

fn of_service(service: &str, sightings: &[&Sighting]) -> Vec<Deploy> {
    let runs = runs(sightings);
    let Some(settled) = runs.first().map(|run| run.first.saturating_add(SETTLED)) else { return Vec::new() };
    let mut found = Vec::new();
    for (place, run) in runs.iter().enumerate() {
        // The version that began last before this one, and another.
        let Some(before) = runs[..place].iter().rev().find(|before| before.version != run.version) else { continue };
        if run.first <= settled {
            continue;
        }
        let known = runs[..place].iter().any(|before| before.version == run.version);
        found.push(Deploy {
            service: service.to_owned(),
            version: run.version.to_owned(),
            previous: before.version.to_owned(),
            kind: if known { DeployKind::Rollback } else { DeployKind::Deploy },
            at: run.first,
            first: run.first,
            rolled_out: run.hosts.iter().map(|host| host.first).max().unwrap_or(run.first),
            last: run.last,
            hosts: run.hosts.clone(),
            overlaps: before.last > run.first,
            text: String::new(),
        });
    }
    found.split_off(found.len().saturating_sub(MOST_DEPLOYS))
}

/// Runs by their start.
fn runs<'a>(sightings: &[&'a Sighting]) -> Vec<Run<'a>> {
    let mut ordered: Vec<&Sighting> = sightings.to_vec();
    ordered.sort_by_key(|sighting| sighting.first);
    let mut found: Vec<Run<'a>> = Vec::new();
    for sighting in ordered {
        let span = HostSpan { host: sighting.host.clone(), first: sighting.first, last: sighting.last };
        let known = found.iter_mut().rev().find(|run| run.version == sighting.version);
        match known.filter(|run| run.last >= sighting.first) {
            Some(run) => {
                run.last = run.last.max(sighting.last);
                run.hosts.push(span);
            }
            None => found.push(Run { version: &sighting.version, first: sighting.first, last: sighting.last, hosts: vec![span] }),
        }
    }
    // Only what another version interrupted is a run of its own: a service that sleeps was not deployed again.
    found.sort_by_key(|run| run.first);
    let mut merged: Vec<Run<'a>> = Vec::new();
    for run in found {
        match merged.last_mut().filter(|before| before.version == run.version) {
            Some(before) => {
                before.last = before.last.max(run.last);
                before.hosts.extend(run.hosts);
            }
            None => merged.push(run),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn seen(version: &str, host: &str, first: u64, last: u64) -> Sighting {
        let at = |minute: u64| Timestamp(minute * 60 * Timestamp::SECOND);
        Sighting { service: "api".into(), version: version.into(), host: host.into(), first: at(first), last: at(last) }
    }

    fn found(sightings: &[Sighting]) -> Vec<(String, String, DeployKind, u64, bool)> {
        let minute = |at: Timestamp| at.0 / (60 * Timestamp::SECOND);
        let all = Window::new(Timestamp(0), Timestamp(u64::MAX));
        find(sightings, &[], all).into_iter().map(|d| (d.version, d.previous, d.kind, minute(d.at), d.overlaps)).collect()
    }

    /// A rollout over two hosts overlaps; what was there first is no deploy; going back is a rollback.
    #[test]
    fn rollouts_and_rollbacks() {
        let deploys = found(&[
            seen("1", "a", 0, 100),
            seen("1", "b", 0, 110),
            seen("2", "a", 100, 200),
            seen("2", "b", 110, 200),
            seen("1", "a", 200, 300),
            seen("1", "b", 200, 300),
        ]);
        let expected = [
            ("2".to_owned(), "1".to_owned(), DeployKind::Deploy, 100, true),
            ("1".to_owned(), "2".to_owned(), DeployKind::Rollback, 200, false),
        ];
        assert_eq!(deploys, expected);
    }

    /// A version that sleeps and comes back is not deployed again, and two versions that run side by side from the start are not either.
    #[test]
    fn sleep_is_no_deploy() {
        assert_eq!(found(&[seen("1", "a", 0, 10), seen("1", "a", 50, 60)]), []);
        assert_eq!(found(&[seen("1", "a", 0, 10), seen("2", "b", 0, 10)]), []);
    }
}
