//! What there is: services, hosts, labels and their values, profile types.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use flamekeeper_profile::leaks::Blindness;
use flamekeeper_profile::{SampleType, Window, label, memory};
use serde::Serialize;
use serde_json::json;

use super::QueryState;
use super::answer::{Answer, Body};
use super::error::ApiError;
use super::params::Params;
use crate::requests::POSTED;
use crate::store::{HostSummary, SeriesSummary};

/// Label of an agent's own version (its batches, not its series, carry it).
const AGENT_VERSION: &str = "agent.version";
/// The type by which services are compared where they have it.
const CPU: &str = "cpu";
/// In the place of a type's name, after all of those: no CPU time.
const IDLE: &str = "~idle";

/// What a service adds up to in one type.
#[derive(Default)]
struct Sum {
    value: u64,
    samples: u64,
    versions: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct ServiceJson {
    service: String,
    versions: Vec<String>,
    hosts: usize,
    value: u64,
    unit: String,
    samples: u64,
}

/// `GET /api/v1/services`: by value descending. The value is CPU time where the service has any; else it is that of the first
/// type by name, since values of two types cannot be added up. A service of which only memory was measured has used no CPU time.
pub(super) fn services(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let window = params.window()?;
    let closed = params.finish()?;
    let mut services: BTreeMap<String, ServiceSums> = BTreeMap::new();
    for series in state.store.series(window)?.into_iter().filter(is_profile) {
        services.entry(series.labels.get(label::SERVICE).to_owned()).or_default().add(&series);
    }
    let mut services: Vec<ServiceJson> = services.into_iter().map(|(service, sums)| sums.into_json(service)).collect();
    services.sort_by_key(|service| Reverse(service.value));
    answer(&json!({ "services": services }), closed)
}

#[derive(Default)]
struct ServiceSums {
    hosts: BTreeSet<String>,
    /// By whether the type is another than CPU, its name, and its unit: CPU comes first.
    types: BTreeMap<(bool, String, String), Sum>,
}

impl ServiceSums {
    fn add(&mut self, series: &SeriesSummary) {
        self.hosts.insert(series.labels.get(label::HOST).to_owned());
        let (name, unit) = (series.sample_type.query_name(), series.sample_type.query_unit());
        // Memory is of every process, also where nothing was sampled: it says that the service is there.
        let (name, unit, weight, samples) =
            if unit == memory::UNIT { (IDLE, "nanoseconds", 0, 0) } else { (name, unit, series.weight, series.samples) };
        let sum = self.types.entry((name != CPU, name.to_owned(), unit.to_owned())).or_default();
        sum.value = sum.value.saturating_add(weight);
        sum.samples = sum.samples.saturating_add(samples);
        let version = sum.versions.entry(series.labels.get(label::VERSION).to_owned()).or_default();
        *version = version.saturating_add(series.weight);
    }

    /// Versions by value descending; a series without a version has none to name.
    fn into_json(self, service: String) -> ServiceJson {
        let hosts = self.hosts.len();
        let ((_, _, unit), sum) = self.types.into_iter().next().unwrap_or_default();
        let mut versions: Vec<(String, u64)> = sum.versions.into_iter().filter(|(version, _)| !version.is_empty()).collect();
        versions.sort_by_key(|(_, value)| Reverse(*value));
        let versions = versions.into_iter().map(|(version, _)| version).collect();
        ServiceJson { service, versions, hosts, value: sum.value, unit, samples: sum.samples }
    }
}

#[derive(Serialize)]
struct HostJson {
    host: String,
    agent_version: String,
    last_seen: f64,
    samples: u64,
    lost: BTreeMap<&'static str, u64>,
    caveats: BTreeMap<&'static str, u64>,
    truncated: u64,
    /// What the agent said of itself with its newest batch, by name; empty for a sender that says nothing.
    figures: BTreeMap<&'static str, u64>,
}

/// `GET /api/v1/hosts`: by name.
pub(super) fn hosts(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let window = params.window()?;
    let closed = params.finish()?;
    let mut stored: HashMap<String, (u64, u64)> = HashMap::new();
    for series in state.store.series(window)? {
        let (samples, truncated) = stored.entry(series.labels.get(label::HOST).to_owned()).or_default();
        *samples = samples.saturating_add(series.samples);
        *truncated = truncated.saturating_add(series.truncated);
    }
    let mut summaries = state.store.hosts(window)?;
    // What was posted is of no agent.
    summaries.retain(|summary| summary.labels.get(POSTED).is_empty());
    let hosts = one_each(summaries);
    let hosts: Vec<_> = hosts
        .iter()
        .map(|(name, host)| {
            let (samples, truncated) = stored.get(name).copied().unwrap_or_default();
            HostJson {
                host: name.clone(),
                agent_version: host.labels.get(AGENT_VERSION).to_owned(),
                last_seen: host.last_seen.as_seconds(),
                samples,
                lost: host.ledger.losses().map(|(reason, count)| (reason.as_str(), count)).collect(),
                caveats: host.ledger.caveats().map(|(caveat, count)| (caveat.as_str(), count)).collect(),
                truncated,
                figures: host.figures.iter().map(|(figure, value)| (figure.as_str(), value)).collect(),
            }
        })
        .collect();
    answer(&json!({ "hosts": hosts }), closed)
}

/// One summary a host: an agent that was upgraded, or has other labels since, has several. The newest says what it is now; what was
/// taken and lost is that of all.
fn one_each(summaries: Vec<HostSummary>) -> BTreeMap<String, HostSummary> {
    let mut hosts: BTreeMap<String, HostSummary> = BTreeMap::new();
    for mut summary in summaries {
        match hosts.entry(summary.labels.get(label::HOST).to_owned()) {
            Entry::Vacant(entry) => _ = entry.insert(summary),
            Entry::Occupied(mut entry) => {
                let host = entry.get_mut();
                if summary.last_seen >= host.last_seen {
                    std::mem::swap(host, &mut summary);
                }
                host.ledger.add(&summary.ledger);
            }
        }
    }
    hosts
}

/// `GET /api/v1/labels`: the names of all labels, sorted.
pub(super) fn labels(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let window = params.window()?;
    let closed = params.finish()?;
    let series = of_hosts(state, window)?;
    let labels: BTreeSet<&str> = series.iter().flat_map(|series| series.labels.iter().map(|(name, _)| name)).collect();
    answer(&json!({ "labels": labels }), closed)
}

/// `GET /api/v1/labels/{name}/values`: the values of a label in a selection, sorted.
pub(super) fn label_values(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let name = params.path_name().to_owned();
    let window = params.window()?;
    let selector = params.selector()?;
    let closed = params.finish()?;
    let series = of_hosts(state, window)?;
    let selected = series.iter().filter(|series| selector.matches(&series.labels));
    let values: BTreeSet<&str> = selected.map(|series| series.labels.get(&name)).filter(|value| !value.is_empty()).collect();
    answer(&json!({ "values": values }), closed)
}

/// `GET /api/v1/types`: CPU first, then by name.
pub(super) fn types(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let window = params.window()?;
    let closed = params.finish()?;
    let series = state.store.series(window)?;
    let types: BTreeSet<(bool, &str, &str)> = series
        .iter()
        .filter(|series| is_profile(series))
        .map(|series| &series.sample_type)
        .map(|of| (of.query_name() != CPU, of.query_name(), memory::answered_unit(of.query_unit())))
        .collect();
    let types: Vec<_> = types.into_iter().map(|(_, name, unit)| json!({ "type": name, "unit": unit })).collect();
    answer(&json!({ "types": types }), closed)
}

/// The series that hosts sent.
fn of_hosts(state: &QueryState, window: Window) -> Result<Vec<SeriesSummary>, ApiError> {
    let mut series = state.store.series(window)?;
    series.retain(SeriesSummary::is_of_a_host);
    Ok(series)
}

/// Whether it is something to look at: not what agents tell of heaps that they do not see, nor counts of requests, nor how exact others are.
fn is_profile(series: &SeriesSummary) -> bool {
    let name = series.sample_type.query_name();
    series.is_of_a_host() && Blindness::of_type(name).is_none() && !SampleType::is_variance(name)
}

fn answer(value: &serde_json::Value, closed: bool) -> Result<Answer, ApiError> {
    Ok(Answer { body: Body::Json(serde_json::to_vec(value)?), closed })
}

#[cfg(test)]
mod tests {
    use flamekeeper_profile::{AgentFigures, Labels, Ledger, LossReason, Timestamp};

    use super::*;

    /// An agent of two versions in the window is one host: the newer one's words, and the losses of both, in either order.
    #[test]
    fn an_upgraded_agent_is_one_host() {
        let summary = |version: &str, seen: u64, lost: u64| {
            let mut ledger = Ledger::new();
            ledger.lose(LossReason::RingFull, lost);
            let labels = Labels::default().with(label::HOST, "web-1").with(AGENT_VERSION, version);
            HostSummary { labels, last_seen: Timestamp(seen), ledger, figures: AgentFigures::default() }
        };
        for summaries in [[summary("1", 10, 3), summary("2", 20, 4)], [summary("2", 20, 4), summary("1", 10, 3)]] {
            let hosts = one_each(summaries.into());
            let host = &hosts["web-1"];
            assert_eq!((hosts.len(), host.labels.get(AGENT_VERSION), host.last_seen), (1, "2", Timestamp(20)));
            assert_eq!(host.ledger.losses().map(|(_, count)| count).sum::<u64>(), 7);
        }
    }
}
