//! Uploads symbols that the collector lacks, once per fleet: it is asked which build ids it wants before anything is sent.
//!
//! One thread of low priority, apart from sampling and shipping; nothing waits for it. An object is uploaded as what
//! names its functions and no more (see `copy`), smallest first, so that a large one delays no other. Objects that are
//! left out are counted and named in one line of log each.
//!
//! An object is announced once, so what the collector says it has is not asked again until the agent starts anew.

mod copy;
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use flamekeeper_profile::BuildId;
use flamekeeper_wire::symbols::{MISSING_PATH, MissingRequest, MissingResponse, UPLOAD_PATH};
use reqwest::{StatusCode, header};

use crate::config::Config;
use crate::config::value::CollectorAddress;
use crate::engine::ObjectSeen;
use crate::progress::Progress;
use crate::ship::{Backoff, ClientError, http_client, retry_after};
use crate::stop::StopFlag;
use queue::Queue;

/// Announcements that wait for the uploader, each with an open file.
pub(crate) const CHANNEL: usize = 1024;
/// The time that one upload may take.
const TIMEOUT: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_millis(250);
/// Bytes of an answer that are read: a thousand build ids of the greatest length.
const MAX_ANSWER: usize = 512 << 10;

/// Why a request did not get through; it is tried again later.
#[derive(Debug, thiserror::Error)]
enum Later {
    #[error("the agent is ending")]
    Stopping,
    #[error(transparent)]
    Request(#[from] reqwest::Error),
    #[error("it answered {0}")]
    Status(StatusCode, Option<Duration>),
    #[error("its answer cannot be read: {0}")]
    Answer(#[from] serde_json::Error),
}

impl Later {
    const fn asked(&self) -> Option<Duration> {
        if let Self::Status(_, after) = self { *after } else { None }
    }
}

/// The uploader's thread.
#[derive(Debug)]
pub(crate) struct Uploader {
    http: reqwest::Client,
    collector: CollectorAddress,
    max_bytes: u64,
    seen: Receiver<ObjectSeen>,
    queue: Queue,
    stop: StopFlag,
    progress: Arc<Progress>,
}

impl Uploader {
    pub(crate) fn new(config: &Config, seen: Receiver<ObjectSeen>, stop: StopFlag, progress: Arc<Progress>) -> Result<Self, ClientError> {
        let max_bytes = config.symbols.max_object_bytes.0;
        Ok(Self {
            http: http_client(TIMEOUT)?,
            collector: config.collector.clone(),
            max_bytes,
            seen,
            queue: Queue::default(),
            stop,
            progress,
        })
    }

    /// Uploads until the flag is raised or nobody announces any more.
    pub(crate) fn run(mut self, runtime: &tokio::runtime::Runtime) {
        lower_priority();
        let mut backoff = Backoff::default();
        let mut due = Instant::now();
        while !self.stop.is_raised() {
            match self.seen.recv_timeout(TICK) {
                Ok(object) => self.queue.add(object),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.take_announced();
            if self.queue.is_empty() || Instant::now() < due {
                continue;
            }
            match runtime.block_on(self.round()) {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    // The shipper has said that the collector is away; symbols just wait.
                    tracing::debug!(%error, "symbols wait for the collector");
                    due = Instant::now() + backoff.next(error.asked());
                }
            }
        }
    }

    /// Whether there were any that the queue did not know.
    fn take_announced(&mut self) -> bool {
        let before = self.queue.len();
        self.seen.try_iter().for_each(|object| self.queue.add(object));
        self.queue.len() > before
    }

    /// Asks for a group of objects, and uploads those that are missing. What is done or hopeless leaves the queue.
    async fn round(&mut self) -> Result<(), Later> {
        let group = self.queue.group(MissingRequest::MAX);
        let missing = self.missing(&group).await?;
        for id in &group {
            if !missing.contains(id) {
                self.queue.settle(id);
            }
        }
        while let Some(object) = self.queue.smallest(&missing) {
            let result = self.upload(&object).await;
            let announced = self.take_announced();
            if let Err(error) = result {
                self.queue.put_back(object);
                return Err(error);
            }
            self.queue.settle(&object.build_id);
            if announced {
                // A new one may be smaller than all that is left of this group: it must not wait for them.
                return Ok(());
            }
        }
        Ok(())
    }

    async fn missing(&self, group: &[BuildId]) -> Result<Vec<BuildId>, Later> {
        let request = self.http.post(self.collector.join(MISSING_PATH)).header(header::CONTENT_TYPE, "application/json");
        let body = serde_json::to_vec(&MissingRequest { build_ids: group.iter().map(ToString::to_string).collect() })?;
        let mut response = self.send(request.body(body)).await?;
        if response.status() != StatusCode::OK {
            return Err(Later::Status(response.status(), retry_after(&response)));
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            answer.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER.saturating_sub(answer.len()))]);
        }
        let answer: MissingResponse = serde_json::from_slice(&answer)?;
        // Ids that were not asked for, or are none, find nothing in the queue.
        Ok(answer.missing.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// Uploads an object, or says why it is left out. Only what may go better later is an error.
    async fn upload(&self, object: &ObjectSeen) -> Result<(), Later> {
        let body = match copy::symbols(object, self.max_bytes, &self.stop) {
            Ok(body) => body,
            Err(copy::CopyError::Stopping) => return Err(Later::Stopping),
            Err(error) => {
                self.skipped(object, &error);
                return Ok(());
            }
        };
        let bytes = body.len();
        let address = self.collector.join(&format!("{UPLOAD_PATH}{}", object.build_id));
        let request = self.http.put(address).header(header::CONTENT_ENCODING, "gzip").body(body);
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => {
                count(&self.progress.objects_uploaded);
                tracing::debug!(build_id = %object.build_id, path = object.path, bytes, "symbols uploaded");
                Ok(())
            }
            status if is_final(status) => {
                self.skipped(object, &format_args!("the collector refuses them with {status}"));
                Ok(())
            }
            status => Err(Later::Status(status, retry_after(&response))),
        }
    }

    fn skipped(&self, object: &ObjectSeen, why: &dyn std::fmt::Display) {
        count(&self.progress.objects_skipped);
        tracing::info!(build_id = %object.build_id, path = object.path, %why, "symbols not uploaded");
    }

    /// Sends a request, unless the agent ends meanwhile.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Later> {
        let answer = request.send();
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return Ok(answer?),
                () = tokio::time::sleep(TICK) => {}
            }
            if self.stop.is_raised() {
                return Err(Later::Stopping);
            }
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Answers that another try would not change.
fn is_final(status: StatusCode) -> bool {
    let kept =
        [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE, StatusCode::UNPROCESSABLE_ENTITY];
    kept.contains(&status)
}

/// Lets everything else go first. Not `SCHED_IDLE` nor the lowest niceness: on a host that is always busy symbols would
/// never arrive, and the profiles of just that host would stay without names.
fn lower_priority() {
    const NICENESS: libc::c_int = 10;
    // SAFETY: setpriority takes no pointers. On Linux 0 is the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    if result != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "the uploader keeps its priority");
    }
}

#[cfg(test)]
mod tests;
