//! Which stacks of a service leak, and what filled the memory of processes that were killed.
//!
//! [`find`] reads what agents counted of sampled blocks by age (`flamekeeper_profile::leaks`), over all processes and hosts, for each
//! version apart, and judges each stack. All of it are sums of generic sample types, so both stores and all their tiers answer it.
//! [`killed`] finds last live heaps by their label, [`blind`] whose memory is not seen.

mod blind;
mod counts;
mod killed;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use flamekeeper_profile::leaks::{AgeClass, Forecast, Survived, Verdict, forecast};
use flamekeeper_profile::{Frame, StackId, Tables, Window, label};

use crate::selector::Selector;
use crate::store::{Store, StoreError};

pub use blind::{Blind, blind};
pub use killed::{Killed, killed};

/// Versions of services that one answer judges, those observed longest.
const MOST_GROUPS: usize = 24;
/// Processes of a version that are named.
const MOST_PROCESSES: usize = 5;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where to look.
    pub window: Window,
    /// One service; empty for all.
    pub service: String,
    /// How far to look ahead, in seconds.
    pub horizon: f64,
}

/// A version of a service whose heap was sampled.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The service.
    pub service: String,
    /// Its version.
    pub version: String,
    /// From when to when its processes were observed.
    pub observed: Window,
    /// The age in seconds that counts as old; none where the time is too short for any.
    pub age: Option<u64>,
    /// How many processes there were, on the average.
    pub processes: f64,
    /// Some of them, by host and process id, where the store still knows them.
    pub sampled: Vec<(String, String)>,
}

impl Group {
    /// What selects it.
    #[must_use]
    pub fn selector(&self) -> Selector {
        Selector::default().with_equal("service", &self.service).with_equal("version", &self.version)
    }
}

/// A stack that has old blocks.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// Its group, by place in [`Found::groups`].
    pub group: usize,
    /// The stack, in [`Found::tables`].
    pub stack: StackId,
    /// What is expected of it.
    pub forecast: Forecast,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// What the stacks are made of.
    pub tables: Tables,
    /// Who was judged.
    pub groups: Vec<Group>,
    /// Versions of services that were not, since there were too many.
    pub left_out: usize,
    /// All stacks with old blocks: leaks first, the surest and greatest before others.
    pub suspects: Vec<Suspect>,
}

/// Judges all stacks.
///
/// # Errors
/// Those of the store.
pub fn find(store: &dyn Store, question: &Question) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let (versions, left_out) = versions(store, question)?;
    found.left_out = left_out;
    for (service, version, sampled) in versions {
        let selector = Selector::default().with_equal("service", &service).with_equal("version", &version);
        let Some(observed) = counts::observed(store, question.window, &selector)? else { continue };
        let counts = counts::read(store, observed, &selector, &mut found.tables)?;
        let group = found.groups.len();
        let seconds: f64 = counts.spans.iter().map(|span| span.seconds).sum();
        let processes = counts.spans.iter().map(|span| span.processes).sum::<f64>() / seconds.max(1e-9);
        let age = counts.age.map(AgeClass::seconds);
        found.groups.push(Group { service, version, observed, age, processes, sampled });
        let Some(age) = age else { continue };
        let judged = counts.parts.iter().map(|(stack, parts)| Suspect {
            group,
            stack: *stack,
            forecast: forecast(age, &counts.spans, parts, question.horizon),
        });
        found.suspects.extend(judged.filter(|suspect| suspect.forecast.counts.reached > 0.0));
    }
    found.suspects.sort_by(|a, b| rank(&a.forecast, &b.forecast).then_with(|| (a.group, a.stack).cmp(&(b.group, b.stack))));
    Ok(found)
}

/// Leaks by what they grow at least, then what it is too early to tell of by what it might grow, then the others by what they hold.
fn rank(a: &Forecast, b: &Forecast) -> Ordering {
    let by = |forecast: &Forecast| match forecast.verdict {
        Verdict::Leaks => forecast.low,
        Verdict::TooEarly => forecast.growth,
        Verdict::LevelsOff => forecast.old,
    };
    a.verdict.cmp(&b.verdict).then_with(|| by(b).total_cmp(&by(a)))
}

/// Processes, by host and id.
type Processes = BTreeSet<(String, String)>;
/// Service, version, and some of its processes.
type Version = (String, String, Vec<(String, String)>);

/// Versions of services that sample their heap, and how many are too many.
fn versions(store: &dyn Store, question: &Question) -> Result<(Vec<Version>, usize), StoreError> {
    let mut versions: BTreeMap<(String, String), (u64, Processes)> = BTreeMap::new();
    for series in store.series(question.window)? {
        let service = series.labels.get(label::SERVICE);
        let asked = question.service.is_empty() || question.service == service;
        if asked && series.sample_type.query_name() == Survived::Observed.as_str() {
            let (time, processes) = versions.entry((service.to_owned(), series.labels.get(label::VERSION).to_owned())).or_default();
            *time = time.saturating_add(series.weight);
            let [host, pid] = [label::HOST, label::PID].map(|name| series.labels.get(name).to_owned());
            if !pid.is_empty() && processes.len() < MOST_PROCESSES {
                processes.insert((host, pid));
            }
        }
    }
    let mut versions: Vec<_> = versions.into_iter().collect();
    // Stable: equal ones stay in the order of their names.
    versions.sort_by_key(|(_, (time, _))| std::cmp::Reverse(*time));
    let left_out = versions.len().saturating_sub(MOST_GROUPS);
    versions.truncate(MOST_GROUPS);
    let of =
        |((service, version), (_, processes)): ((String, String), (u64, Processes))| (service, version, processes.into_iter().collect());
    Ok((versions.into_iter().map(of).collect(), left_out))
}

/// Whether a frame belongs to the allocator, or to what stands between it and whoever wanted memory.
#[must_use]
pub fn allocates(frame: &Frame) -> bool {
    const MODULES: [&str; 6] = ["libflamekeeper_heap.so", "libc.so", "libstdc++.so", "libc++.so", "libjemalloc.so", "libtcmalloc"];
    const NAMES: [&str; 16] = [
        "malloc",
        "calloc",
        "realloc",
        "operator new",
        "_Znwm",
        "_Znam",
        "__rust_alloc",
        "__rust_realloc",
        "__rustc::__rust_",
        "alloc::",
        "<alloc::",
        "std::alloc",
        "std::__new_allocator",
        "std::vector",
        "std::allocator",
        "flamekeeper_heap::",
    ];
    let file = frame.module.rsplit('/').next().unwrap_or_default();
    MODULES.iter().any(|module| file.starts_with(module)) || NAMES.iter().any(|name| frame.name.starts_with(name))
}
