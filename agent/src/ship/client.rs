//! One request: a batch to the collector, and what its answer means.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flamekeeper_wire::{BATCH_OUTCOME, COLLECTOR_ID, IDEMPOTENCY_KEY, PROFILES_PATH};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::config::value::CollectorAddress;
use crate::progress::Progress;
use crate::spool::Stored;

/// The time that one request may take, from connection to the last byte of the answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer's text that are kept for a message.
const MAX_MESSAGE: usize = 512;

/// The HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be set up: {0}")]
pub struct ClientError(#[source] reqwest::Error);

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

/// A client that goes straight to the collector: proxies of the environment are for programs that browse, and a
/// redirected `POST` would lose its body.
pub(crate) fn http_client(timeout: Duration) -> Result<reqwest::Client, ClientError> {
    reqwest::Client::builder()
        .user_agent(concat!("flamekeeper-agent/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .pool_idle_timeout(Duration::from_secs(60))
        .build()
        .map_err(ClientError)
}

/// Sends batches to one collector.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    collector: CollectorAddress,
    progress: Arc<Progress>,
}

impl Client {
    pub(crate) fn new(collector: &CollectorAddress, progress: Arc<Progress>) -> Result<Self, ClientError> {
        Ok(Self { http: http_client(TIMEOUT)?, collector: collector.clone(), progress })
    }

    pub(super) const fn collector(&self) -> &CollectorAddress {
        &self.collector
    }

    pub(super) async fn send(&self, stored: &Stored) -> Outcome {
        let request = self
            .http
            .post(self.collector.join(PROFILES_PATH))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONTENT_ENCODING, "gzip")
            .header(IDEMPOTENCY_KEY, stored.id.to_string())
            .body(stored.body.clone());
        match request.send().await {
            Ok(response) => {
                if let Some(collector) = collector(&response) {
                    self.progress.collector.store(collector, Ordering::Relaxed);
                }
                outcome(response).await
            }
            Err(error) => Outcome::retry(&reason(&error)),
        }
    }
}

/// An error with its causes: reqwest's own text names only the address.
fn reason(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    if error.is_timeout() {
        "it did not answer in time".into()
    } else if text.is_empty() {
        error.to_string()
    } else {
        text
    }
}

/// The pause that an answer asks for: whole seconds; the other form, a date, is not worth a calendar.
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The start of the collector's identity; none where the answer does not say.
fn collector(response: &Response) -> Option<u64> {
    let identity = response.headers().get(COLLECTOR_ID)?.to_str().ok()?;
    u64::from_str_radix(identity.get(..16)?, 16).ok()
}

async fn outcome(response: Response) -> Outcome {
    let status = response.status();
    if status == StatusCode::OK {
        let duplicate = response.headers().get(BATCH_OUTCOME).is_some_and(|value| value == "duplicate");
        // The answer's few bytes are read, so that the connection can be used again.
        message(response).await;
        return if duplicate { Outcome::Duplicate } else { Outcome::Accepted };
    }
    let after = retry_after(&response);
    let message = message(response).await;
    match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Outcome::Refused { status: status.as_u16(), message }
        }
        // Anything else may be another server at this address for a while, or one that is not yet set up.
        _ => Outcome::Retry { after, why: format!("it answered {status}: {message}") },
    }
}

/// The start of an answer's text, on one line.
async fn message(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_MESSAGE.saturating_sub(bytes.len());
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if bytes.len() >= MAX_MESSAGE {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
