//! Heap profiles that programs serve themselves: Go's `/debug/pprof/heap`, jemalloc's and tcmalloc's, fetched at the configured addresses.
//!
//! Programs whose allocator is their own are not seen by the library (`heap/`), but know their heap best. A thread of its own fetches
//! each target at its interval (`Scraper`), reads the answer (`pprof`, `text`), and lays it on a [`Board`], from where it goes into the
//! batches: the four types of heaps, with the label `heap.source="pprof"`. What is live is in every window until the next answer, or twice the
//! interval without one. What was allocated is the difference of two answers, in the window after the second; a first answer has none, and one
//! that has less than the one before is of a program that was started anew: all of it is new.
//!
//! **Answers are hostile.** They are read under limits of time and size; the parsers are functions of bytes, count before they take memory,
//! and are fuzzed.

mod board;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod pprof;
mod profile;
mod resolve;
mod target;
mod text;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use flamekeeper_profile::Labels;
use tokio::time::Instant;

pub use board::Board;

use crate::config::scrape::ScrapeConfig;
use crate::perf::clock;
use crate::progress::Progress;
use crate::stop::StopFlag;
use target::Target;

/// Scrapes all targets.
#[derive(Debug)]
pub(crate) struct Scraper {
    targets: Vec<Target>,
    host: Labels,
    board: Arc<Board>,
    progress: Arc<Progress>,
}

impl Scraper {
    /// Scrapes nothing yet. `host` are the labels that all series of this host have.
    pub(crate) fn new(configs: &[ScrapeConfig], host: Labels, board: Arc<Board>, progress: Arc<Progress>) -> Result<Self> {
        let target = |config: &ScrapeConfig| Target::new(config.clone()).with_context(|| format!("{} cannot be scraped", config.url));
        let targets = configs.iter().map(target).collect::<Result<_>>()?;
        Ok(Self { targets, host, board, progress })
    }

    /// Scrapes until the flag is raised, one target after the other: each at once, then at its interval. A server that does not answer is
    /// not waited for at the end.
    pub(crate) async fn run(self, stop: &StopFlag) {
        tokio::select! {
            () = self.scrape_all() => {}
            () = stop.raised() => {}
        }
    }

    async fn scrape_all(mut self) {
        let begun = Instant::now();
        let mut due: Vec<Instant> = self.targets.iter().map(|_| begun).collect();
        loop {
            let Some((place, due)) = due.iter_mut().enumerate().min_by_key(|(_, at)| **at) else { return };
            let Some(target) = self.targets.get_mut(place) else { return };
            tokio::time::sleep_until(*due).await;
            *due = (*due + target.config().interval.duration()).max(Instant::now());
            scrape(target, place, (&self.host, &self.board, &self.progress)).await;
        }
    }
}

async fn scrape(target: &mut Target, place: usize, (host, board, progress): (&Labels, &Board, &Progress)) {
    let labels = target.labels(host);
    match target.scrape().await {
        Ok(profile) => {
            let again = std::mem::take(&mut target.failing);
            let (url, service) = (&target.config().url, &target.config().service);
            if again {
                tracing::info!(%url, service, "a heap can be scraped again");
            }
            let lasts = u64::try_from(target.config().interval.duration().as_nanos()).unwrap_or(u64::MAX);
            board.note(place, labels, profile, clock::monotonic().saturating_add(lasts.saturating_mul(2)));
            progress.heaps_scraped.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => {
            let before = std::mem::replace(&mut target.failing, true);
            let (url, service) = (&target.config().url, &target.config().service);
            // Said once, not at each interval; each is counted.
            if !before {
                tracing::warn!(%url, service, %error, "a heap cannot be scraped; it is tried again at its interval");
            }
            progress.heaps_not_scraped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
