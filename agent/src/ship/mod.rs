//! Ships batches from the spool to the collector, oldest first, one at a time.
//!
//! A batch leaves the spool when the collector has it (*accepted* or *duplicate*) or refuses it for good, twice in a row: what arrived
//! there, or the answer, may have been damaged on the way. Everything else is tried again, after a pause that grows (`backoff`) or that the collector states. Where the collector wants a token that
//! this agent does not have, batches wait until it has it: its file is looked at every second.

mod backoff;
mod client;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flamekeeper_transport::Credentials;
use flamekeeper_wire::BatchId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::value::CollectorAddress;
use crate::progress::Progress;
use crate::spool::{Spool, Stored};
pub(crate) use backoff::Backoff;
pub(crate) use client::{Client, Outcome, http_client, retry_after};
pub use flamekeeper_transport::ClientError;

/// How long the shipper goes on when the agent ends.
pub const DRAIN: Duration = Duration::from_secs(5);

/// How often it is said that the collector does not take batches from this agent.
const DENIED_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether the token is another.
const TOKEN_TICK: Duration = Duration::from_secs(1);

/// What the shipper is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Ship for as long as the agent runs.
    Running,
    /// Nothing more will be pushed: ship what is there, until this instant.
    Draining(Instant),
}

/// Ships from a spool to a collector.
#[derive(Debug)]
pub(crate) struct Shipper {
    spool: Arc<Spool>,
    client: Client,
    progress: Arc<Progress>,
    /// Since when the collector cannot be reached, and whether that has been said.
    unreachable: Option<Instant>,
    /// When it was last said that the collector does not let this agent in.
    denied: Option<Instant>,
    /// The batch that was refused when it was sent last.
    refused: Option<BatchId>,
}

impl Shipper {
    pub(crate) fn new(
        spool: Arc<Spool>,
        collector: &CollectorAddress,
        credentials: &Credentials,
        progress: Arc<Progress>,
    ) -> Result<Self, ClientError> {
        let client = Client::new(collector, credentials, Arc::clone(&progress))?;
        Ok(Self { spool, client, progress, unreachable: None, denied: None, refused: None })
    }

    /// Ships until the phase is [`Phase::Draining`] and the spool is empty or the time is over.
    pub(crate) async fn run(mut self, mut phase: watch::Receiver<Phase>) {
        let mut backoff = Backoff::default();
        loop {
            let now = *phase.borrow_and_update();
            if let Phase::Draining(until) = now
                && Instant::now() >= until
            {
                break;
            }
            let Some(stored) = self.spool.oldest() else {
                if now != Phase::Running {
                    break;
                }
                tokio::select! {
                    () = self.spool.changed() => {}
                    _ = phase.changed() => {}
                    // A batch whose file could not be read or removed is looked at again even if none is pushed.
                    () = tokio::time::sleep(Duration::from_secs(30)) => {}
                }
                continue;
            };
            let pause = match self.send(&stored, now, &mut phase).await {
                Some(outcome) => self.settle(&stored, outcome, &mut backoff),
                None => continue, // The phase has changed while the request was under way.
            };
            if let Some(pause) = pause {
                self.wait(pause, now, &mut phase).await;
            }
        }
        let left = self.spool.stats();
        if left.batches > 0 {
            tracing::info!(batches = left.batches, bytes = left.bytes, "batches stay in the spool for the next start");
        }
    }

    /// Sends a batch; gives up without an outcome when draining begins under a stalled request, or ends.
    async fn send(&self, stored: &Stored, now: Phase, phase: &mut watch::Receiver<Phase>) -> Option<Outcome> {
        let limit = match now {
            Phase::Draining(until) => until,
            Phase::Running => Instant::now() + client::TIMEOUT,
        };
        let request = tokio::time::timeout_at(limit, self.client.send(stored));
        tokio::pin!(request);
        tokio::select! {
            done = &mut request => return Some(done.unwrap_or_else(|_| Outcome::retry("it did not answer in time"))),
            _ = phase.changed(), if now == Phase::Running => {}
        }
        // The agent ends: this request, too, has only the time that is left.
        let Phase::Draining(until) = *phase.borrow() else { return None };
        tokio::time::timeout_at(until, request).await.ok().and_then(Result::ok)
    }

    /// Acts on an outcome; gives how long to pause before the next try, if at all.
    fn settle(&mut self, stored: &Stored, outcome: Outcome, backoff: &mut Backoff) -> Option<Duration> {
        let (kept, counter) = match outcome {
            Outcome::Accepted => (self.spool.accepted(&stored.id), &self.progress.batches_accepted),
            Outcome::Duplicate => (self.spool.accepted(&stored.id), &self.progress.batches_duplicate),
            Outcome::Refused { status, message } if self.refused.replace(stored.id.clone()).as_ref() != Some(&stored.id) => {
                tracing::debug!(batch = %stored.id, status, message, "refused once; it is sent again, since either way may have damaged it");
                return None;
            }
            Outcome::Refused { status, message } => {
                tracing::error!(batch = %stored.id, status, message, "the collector refuses a batch for good; its samples are counted as lost");
                (self.spool.refused(&stored.id), &self.progress.batches_refused)
            }
            Outcome::Denied { status, message } => {
                self.turned_away(status, &message);
                return Some(backoff.next(None));
            }
            Outcome::Retry { after, why } => {
                self.lost_touch(&why);
                return Some(backoff.next(after));
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.in_touch();
        self.progress.show_spool(&self.spool.stats());
        match kept {
            Ok(()) => {
                backoff.reset();
                None
            }
            Err(error) => {
                let pause = backoff.next(None);
                tracing::debug!(%error, batch = %stored.id, "a shipped batch could not be removed and will be sent again");
                Some(pause)
            }
        }
    }

    /// One line when the collector is lost, however often it is tried.
    fn lost_touch(&mut self, why: &str) {
        if self.unreachable.is_none() {
            self.unreachable = Some(Instant::now());
            self.progress.reachable.store(false, Ordering::Relaxed);
            let collector = self.client.collector();
            tracing::warn!(%collector, why, "the collector takes no batches; they are kept in the spool and tried again");
        }
    }

    /// A line a minute for as long as the collector does not let this agent in: only a person can change that.
    fn turned_away(&mut self, status: u16, message: &str) {
        self.progress.requests_denied.fetch_add(1, Ordering::Relaxed);
        self.progress.reachable.store(false, Ordering::Relaxed);
        self.unreachable.get_or_insert_with(Instant::now);
        if self.denied.is_none_or(|said| said.elapsed() >= DENIED_EVERY) {
            self.denied = Some(Instant::now());
            let (collector, batches) = (self.client.collector(), self.spool.stats().batches);
            tracing::warn!(%collector, status, message, batches, "the collector does not let this agent in; batches are kept in the spool");
        }
    }

    /// Pauses, but no longer than the phase allows, and until the token is another.
    async fn wait(&self, pause: Duration, now: Phase, phase: &mut watch::Receiver<Phase>) {
        // While draining there is little time: try again soon whatever the pause.
        let pause = if now == Phase::Running { pause } else { pause.min(Duration::from_millis(250)) };
        let token = self.client.token_stamp();
        let other_token = async {
            while self.client.token_stamp() == token {
                tokio::time::sleep(TOKEN_TICK).await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = other_token => {}
            _ = phase.changed() => {}
        }
    }

    /// One line when it is back.
    fn in_touch(&mut self) {
        self.denied = None;
        self.progress.reachable.store(true, Ordering::Relaxed);
        if let Some(since) = self.unreachable.take() {
            let batches = self.spool.stats().batches;
            tracing::info!(seconds = since.elapsed().as_secs(), batches, "the collector takes batches again");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
