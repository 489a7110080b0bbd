//! Tells a webhook what a new version changed, once there are samples enough to say it.
//!
//! [`Announcer::look`] is done once a minute. A version that a service did not have is noted; when both it and the version before have as
//! many samples as configured, in windows that can be compared, their diff is posted as JSON, once: what was told is kept in a file, so
//! that a restart repeats nothing. A crash between the post and the file may repeat one; its id is the same then. Versions that a service
//! had within the last day are known: a rollback is not told.

mod post;
mod seen;
mod told;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flamekeeper_profile::{Timestamp, Window};
use flamekeeper_symbolizer::Symbolize;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use self::post::{Outcome, Poster};
use self::seen::{Key, Seen};
use self::told::Told;
use crate::deploys::{choose, find, sightings};
use crate::query::diff::{Diff, Normalization, gather};
use crate::render::{DiffSide, Report};
use crate::selector::Selector;
use crate::store::{Selection, SeriesSummary, Store, StoreError};
use crate::watch::Watch;

pub use post::WebhookError;
pub(crate) use post::address;

const MINUTE: u64 = 60 * Timestamp::SECOND;
const HOUR: u64 = 60 * MINUTE;
/// How far back the versions of a service are known.
const KNOWN: u64 = 24 * HOUR;
/// What began to run longer ago than this when the collector starts is no news.
const NEWS: u64 = 2 * HOUR;
/// The part of the past that a look is about: longer than the time between two looks, and than batches mostly take.
const RECENT: u64 = 3 * MINUTE;
/// How far back the version before is looked for.
const LOOK_BACK: u64 = 26 * HOUR;
/// Functions of each kind that are told.
const MOST_FUNCTIONS: usize = 50;
/// The longest that the diff of one version may take.
const LONGEST: Duration = Duration::from_secs(120);

/// Which webhook, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Its address, `http://` or `https://`; none tells nobody.
    pub url: Option<String>,
    /// A file of certificates (PEM) that are trusted beside those of the host.
    pub ca: Option<std::path::PathBuf>,
    /// Samples that both versions must have.
    pub samples: u64,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self { url: None, ca: None, samples: 2000 }
    }
}

/// What telling may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookLimits {
    /// Longest time until a connection is made.
    pub connect: Duration,
    /// Longest time for the answer.
    pub answer: Duration,
    /// Times that one report is posted where the webhook does not take it.
    pub attempts: u32,
    /// Time before the second attempt; four times as long before each further one.
    pub pause: Duration,
    /// Time between two looks.
    pub every: Duration,
    /// Time between two diffs of a version that has too few samples.
    pub again: Duration,
}

impl Default for WebhookLimits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(10), answer: seconds(30), attempts: 5, pause: seconds(2), every: seconds(60), again: seconds(300) }
    }
}

/// How often what happened.
#[derive(Debug, Default)]
pub struct WebhookCounters {
    /// Reports that were taken.
    pub sent: AtomicU64,
    /// Reports that the webhook refused for good.
    pub refused: AtomicU64,
    /// Reports that were given up after the last attempt.
    pub failed: AtomicU64,
    /// Attempts that did not succeed.
    pub retried: AtomicU64,
    /// Versions that wait for samples.
    pub waiting: AtomicU64,
}

/// What is asked for a report.
#[derive(Clone)]
pub struct WebhookSources {
    /// The stored profiles.
    pub store: Arc<dyn Store>,
    /// The names.
    pub symbols: Arc<dyn Symbolize + Send + Sync>,
    /// The wall clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl fmt::Debug for WebhookSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSources").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Tells a webhook of new versions.
#[derive(Debug)]
pub struct Announcer {
    sources: WebhookSources,
    poster: Poster,
    samples: u64,
    limits: WebhookLimits,
    seen: Mutex<Seen>,
    told: Mutex<Told>,
    counters: WebhookCounters,
}

/// What is posted.
#[derive(Debug, Serialize)]
struct Body<'a> {
    event: &'static str,
    id: &'a str,
    service: &'a str,
    version: &'a str,
    previous: &'a str,
    /// The report in a sentence, where chats look for it.
    text: String,
    report: Report,
}

impl Announcer {
    /// For the webhook of a configuration; none where it has none. What was told is kept in the file.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub fn new(
        config: &WebhookConfig,
        file: &Path,
        sources: WebhookSources,
        limits: WebhookLimits,
    ) -> Result<Option<Arc<Self>>, WebhookError> {
        let Some(url) = &config.url else { return Ok(None) };
        let poster = Poster::new(url, config.ca.as_deref(), limits)?;
        let told = Told::open(file)?;
        let (seen, counters) = (Mutex::default(), WebhookCounters::default());
        Ok(Some(Arc::new(Self { sources, poster, samples: config.samples, limits, seen, told: Mutex::new(told), counters })))
    }

    /// How often what happened.
    #[must_use]
    pub const fn counters(&self) -> &WebhookCounters {
        &self.counters
    }

    /// Looks again and again, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.limits.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look().await;
        }
    }

    /// Notes new versions, and tells of those that have samples enough.
    pub async fn look(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let ready = tokio::task::spawn_blocking(move || Watch::new(LONGEST).during(|| this.ready())).await;
        let ready = match ready {
            Ok(Ok(ready)) => ready,
            Ok(Err(error)) => return tracing::warn!(%error, "new versions could not be looked for"),
            Err(error) => return tracing::error!(%error, "the look for new versions ended early"),
        };
        for (key, id, body) in ready {
            let outcome = self.poster.post(&id, &body, || _ = self.counters.retried.fetch_add(1, Ordering::Relaxed)).await;
            let counter = match outcome {
                Outcome::Taken => &self.counters.sent,
                Outcome::Refused => &self.counters.refused,
                Outcome::Failed => &self.counters.failed,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            let (service, version) = (&key.0, &key.1);
            tracing::info!(%service, %version, ?outcome, "the webhook was told of a new version");
            self.settle(&key);
        }
        let waiting = lock(&self.seen).waiting();
        self.counters.waiting.store(waiting as u64, Ordering::Relaxed);
    }

    fn settle(&self, key: &Key) {
        lock(&self.seen).settle(key);
        if let Err(error) = lock(&self.told).add(key) {
            tracing::warn!(%error, "that the webhook was told of a version could not be noted: a restart may repeat it");
        }
    }

    /// Versions that have samples enough, with what is told of them.
    fn ready(&self) -> Result<Vec<(Key, String, Vec<u8>)>, StoreError> {
        let now = (self.sources.now)();
        let recent = self.versions(now.saturating_sub(RECENT), now)?;
        if !lock(&self.seen).has_begun() {
            let known = self.versions(now.saturating_sub(KNOWN), now.saturating_sub(NEWS))?;
            lock(&self.seen).begin(known);
        }
        let due = {
            let told = lock(&self.told);
            lock(&self.seen).note(recent, |key| told.has(key), now, self.limits.again)
        };
        let mut ready = Vec::new();
        for key in due {
            if let Some((id, body)) = self.report(&key, now)? {
                ready.push((key, id, body));
            }
        }
        Ok(ready)
    }

    fn versions(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Key>, StoreError> {
        let series = self.sources.store.series(Window::new(from, to))?;
        let of = |labels: &flamekeeper_profile::Labels| (labels.get("service").to_owned(), labels.get("version").to_owned());
        let series = series.into_iter().filter(SeriesSummary::is_of_a_host);
        Ok(series.map(|series| of(&series.labels)).filter(|key| !key.0.is_empty() && !key.1.is_empty()).collect())
    }

    /// The diff of a version and the one before it; none where there are not samples enough.
    fn report(&self, (service, version): &Key, now: Timestamp) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        let store = &*self.sources.store;
        let window = Window::new(now.saturating_sub(LOOK_BACK), now);
        let seen = sightings(store, window, service)?;
        let deploys = find(&seen, &[], window);
        let Some(deploy) = deploys.iter().rev().find(|deploy| deploy.version == *version) else { return Ok(None) };
        let Some(choice) = choose(&seen, &deploy.previous, version) else { return Ok(None) };
        let selection = |version: &str, window: Window| {
            let selector = Selector::default().with_equal("service", service).with_equal("version", version);
            Selection { window, profile_type: "cpu".to_owned(), selector }
        };
        let sides = [selection(&deploy.previous, choice.a), selection(version, choice.b)];
        for side in &sides {
            if store.merged(side)?.merged.total().samples < self.samples {
                return Ok(None);
            }
        }
        let profiles = [gather(store, &sides[0])?, gather(store, &sides[1])?];
        let diff = Diff::of("cpu", profiles, Normalization::Cores, &*self.sources.symbols, 1);
        let queries = sides.each_ref().map(|side| side.selector.to_string());
        let told = [0, 1].map(|side: usize| DiffSide { window: sides[side].window, query: &queries[side] });
        let report = Report { why: choice.why.join("; "), ..Report::of(&diff, "cpu", told, MOST_FUNCTIONS) };
        Ok(body(service, version, &deploy.previous, report))
    }
}

fn body(service: &str, version: &str, previous: &str, report: Report) -> Option<(String, Vec<u8>)> {
    let id = id(service, version, previous);
    let text = format!("{service} {version} after {previous}: {}", report.headline());
    let body = Body { event: "deploy", id: &id, service, version, previous, text, report };
    match serde_json::to_vec(&body) {
        Ok(bytes) => Some((id, bytes)),
        Err(error) => {
            tracing::error!(%error, "the report of a new version could not be written");
            None
        }
    }
}

/// What makes two reports the same news.
fn id(service: &str, version: &str, previous: &str) -> String {
    let mut hash = Sha256::new();
    for part in [service, version, previous] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Each change is one step: what is there is valid after any panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
