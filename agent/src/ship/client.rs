//! One request: a batch to the collector, and what its answer means.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use flamekeeper_transport::{Answer, ClientError, Credentials, Stamp};
use flamekeeper_wire::{BATCH_CHECK, BATCH_OUTCOME, BatchCheck, COLLECTOR_ID, IDEMPOTENCY_KEY, PROFILES_PATH};
use http_body_util::Full;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use hyper::{Request, StatusCode};

use crate::config::value::CollectorAddress;
use crate::progress::Progress;
use crate::spool::Stored;

/// The time that one request may take, from connection to the last byte of the answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer's text that are kept for a message.
const MAX_MESSAGE: usize = 512;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The collector has it, durably.
    Accepted,
    /// The collector had it already.
    Duplicate,
    /// The collector will never take it.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the collector said.
        message: String,
    },
    /// The collector does not take it from this agent: its token or certificate is missing, wrong, or of another scope.
    Denied {
        /// The HTTP status.
        status: u16,
        /// What the collector said.
        message: String,
    },
    /// It may be taken later.
    Retry {
        /// The pause that the collector asks for.
        after: Option<Duration>,
        /// Why not now.
        why: String,
    },
}

impl Outcome {
    pub(super) fn retry(why: &str) -> Self {
        Self::Retry { after: None, why: why.into() }
    }
}

/// A client for a collector, with what it is shown and by what it is known.
pub(crate) fn http_client(
    collector: &CollectorAddress,
    credentials: &Credentials,
    timeout: Duration,
) -> Result<flamekeeper_transport::Client, ClientError> {
    let name = concat!("flamekeeper-agent/", env!("CARGO_PKG_VERSION"));
    flamekeeper_transport::Client::new(credentials, collector.is_secure(), name, timeout)
}

/// Sends batches to one collector.
#[derive(Debug)]
pub(crate) struct Client {
    http: flamekeeper_transport::Client,
    collector: CollectorAddress,
    progress: Arc<Progress>,
}

impl Client {
    pub(crate) fn new(collector: &CollectorAddress, credentials: &Credentials, progress: Arc<Progress>) -> Result<Self, ClientError> {
        Ok(Self { http: http_client(collector, credentials, TIMEOUT)?, collector: collector.clone(), progress })
    }

    /// Tells whether the token's file was exchanged meanwhile.
    pub(super) fn token_stamp(&self) -> Option<Stamp> {
        self.http.token_stamp()
    }

    pub(super) const fn collector(&self) -> &CollectorAddress {
        &self.collector
    }

    pub(super) async fn send(&self, stored: &Stored) -> Outcome {
        let request = Request::post(self.collector.join(PROFILES_PATH))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONTENT_ENCODING, "gzip")
            .header(IDEMPOTENCY_KEY, stored.id.to_string())
            .header(BATCH_CHECK, BatchCheck::of(&stored.id, "gzip", &stored.body).to_string())
            .body(Full::new(Bytes::from(stored.body.clone())));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Outcome::retry(&error.to_string()),
        };
        match self.http.exchange(request, MAX_MESSAGE).await {
            Ok(answer) => {
                if let Some(collector) = collector(&answer.headers) {
                    self.progress.collector.store(collector, Ordering::Relaxed);
                }
                outcome(&answer)
            }
            Err(error) => Outcome::retry(&error.to_string()),
        }
    }
}

/// The pause that an answer asks for: whole seconds; the other form, a date, is not worth a calendar.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The start of the collector's identity; none where the answer does not say.
fn collector(headers: &HeaderMap) -> Option<u64> {
    let identity = headers.get(COLLECTOR_ID)?.to_str().ok()?;
    u64::from_str_radix(identity.get(..16)?, 16).ok()
}

fn outcome(answer: &Answer) -> Outcome {
    let duplicate = || answer.headers.get(BATCH_OUTCOME).is_some_and(|value| value == "duplicate");
    let (status, message) = (answer.status, message(&answer.body));
    match status {
        StatusCode::OK if duplicate() => Outcome::Duplicate,
        StatusCode::OK => Outcome::Accepted,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Outcome::Refused { status: status.as_u16(), message }
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::Denied { status: status.as_u16(), message },
        // Anything else may be another server at this address for a while, or one that is not yet set up.
        _ => Outcome::Retry { after: retry_after(&answer.headers), why: format!("it answered {status}: {message}") },
    }
}

/// The start of an answer's text, on one line.
fn message(start: &[u8]) -> String {
    String::from_utf8_lossy(start).chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
