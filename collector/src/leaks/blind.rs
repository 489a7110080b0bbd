//! What is not seen of the memory of services.

use std::collections::{BTreeMap, BTreeSet};

use flamekeeper_profile::label;
use flamekeeper_profile::leaks::{Blindness, Survived};

use super::Question;
use crate::store::{Store, StoreError};

/// Versions of services that one answer tells of.
const MOST: usize = 100;
/// The label of what was scraped, and the type of live heaps.
const SOURCE: &str = "heap.source";
const HEAP: &str = "inuse_space";

/// A version of a service whose memory is not seen, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blind {
    /// The service.
    pub service: String,
    /// Its version.
    pub version: String,
    /// Whether the heap of any of its processes is sampled.
    pub sampled: bool,
    /// Whether its own heap profiles are scraped.
    pub scraped: bool,
    /// Why.
    pub kinds: Vec<Blindness>,
}

/// What is known of one version.
#[derive(Default)]
struct Known {
    sampled: bool,
    scraped: bool,
    kinds: BTreeSet<Blindness>,
    cpu: u64,
}

/// The versions of services whose memory is not seen, or not all of it: those that are sampled first, for a verdict on them is not about
/// all of their memory; then by the CPU time that they took. And how many more there are.
///
/// # Errors
/// Those of the store.
pub fn blind(store: &dyn Store, question: &Question) -> Result<(Vec<Blind>, usize), StoreError> {
    let mut known: BTreeMap<(String, String), Known> = BTreeMap::new();
    for series in store.series(question.window)? {
        let service = series.labels.get(label::SERVICE);
        if !question.service.is_empty() && question.service != service {
            continue;
        }
        let known = known.entry((service.to_owned(), series.labels.get(label::VERSION).to_owned())).or_default();
        match series.sample_type.query_name() {
            name if name == Survived::Observed.as_str() => known.sampled = true,
            HEAP if !series.labels.get(SOURCE).is_empty() => known.scraped = true,
            "cpu" => known.cpu = known.cpu.saturating_add(series.weight),
            name => known.kinds.extend(Blindness::of_type(name)),
        }
    }
    // Whether a service is scraped is known of the service: what is scraped has no version of a build.
    let scraped: BTreeSet<String> = known.iter().filter(|(_, known)| known.scraped).map(|((service, _), _)| service.clone()).collect();
    let mut all: Vec<_> = known.into_iter().filter(|(_, known)| !known.kinds.is_empty()).collect();
    all.sort_by_key(|(_, known)| (!known.sampled, std::cmp::Reverse(known.cpu)));
    let left_out = all.len().saturating_sub(MOST);
    let told = all.into_iter().take(MOST).map(|((service, version), known)| Blind {
        scraped: scraped.contains(&service),
        service,
        version,
        sampled: known.sampled,
        kinds: known.kinds.into_iter().collect(),
    });
    Ok((told.collect(), left_out))
}
