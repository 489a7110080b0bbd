//! One report to one webhook.

use std::io;
use std::path::Path;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, StatusCode, Uri, header};
use http_body_util::Full;

use super::WebhookLimits;
use crate::debuginfod::{ConnectError, Connector, TrustError};

const USER_AGENT: &str = concat!("flamekeeper/", env!("CARGO_PKG_VERSION"));

/// Why nobody can be told.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// No request could go to it.
    #[error("{0:?} is not the address of a webhook, such as \"https://chat.example/hooks/profiles\", without a user's name")]
    Address(String),
    /// It cannot be trusted.
    #[error("cannot tell a webhook: {0}")]
    Trust(#[from] TrustError),
    /// What was told could not be read.
    #[error("what the webhook was told cannot be read: {0}")]
    Told(#[from] io::Error),
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    /// For good: the webhook said that it is wrong.
    Refused,
    /// After the last attempt.
    Failed,
}

/// Why an attempt did not succeed.
#[derive(Debug, thiserror::Error)]
enum Attempt {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the request failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be written: {0}")]
    Request(#[from] axum::http::Error),
    #[error("the webhook answered {0}")]
    Status(StatusCode),
    #[error("no answer within {0:?}")]
    Slow(Duration),
}

#[derive(Debug)]
pub(super) struct Poster {
    connector: Connector,
    address: Uri,
    limits: WebhookLimits,
}

impl Poster {
    pub(super) fn new(url: &str, ca: Option<&Path>, limits: WebhookLimits) -> Result<Self, WebhookError> {
        let address = address(url).ok_or_else(|| WebhookError::Address(url.to_owned()))?;
        let connector = Connector::new(address.scheme_str() == Some("https"), ca, limits.connect)?;
        Ok(Self { connector, address, limits })
    }

    /// Posts until it is taken or refused, at most as often as the limits say; `retry` is called for each attempt that did not succeed.
    pub(super) async fn post(&self, id: &str, body: &[u8], retry: impl Fn()) -> Outcome {
        let mut pause = self.limits.pause;
        for attempt in 1..=self.limits.attempts {
            let sent = tokio::time::timeout(self.limits.answer, self.attempt(id, body)).await;
            match sent.unwrap_or(Err(Attempt::Slow(self.limits.answer))) {
                Ok(()) => return Outcome::Taken,
                Err(Attempt::Status(status)) if is_final(status) => {
                    tracing::warn!(%status, "the webhook refuses the report of a new version");
                    return Outcome::Refused;
                }
                Err(error) => {
                    retry();
                    tracing::warn!(%error, attempt, "the webhook did not take the report of a new version");
                }
            }
            if attempt < self.limits.attempts {
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(4);
            }
        }
        Outcome::Failed
    }

    async fn attempt(&self, id: &str, body: &[u8]) -> Result<(), Attempt> {
        let mut connection = self.connector.open(&self.address).await?;
        let host = self.address.authority().ok_or(ConnectError::Address)?.as_str();
        let path = self.address.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header(header::HOST, host)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, "application/json")
            .header(flamekeeper_wire::IDEMPOTENCY_KEY, id)
            .body(Full::new(Bytes::copy_from_slice(body)))?;
        // What it says beside the status is not read.
        let status = connection.sender.send_request(request).await?.status();
        if status.is_success() { Ok(()) } else { Err(Attempt::Status(status)) }
    }
}

/// The address of a webhook; none where no request could go to it, or where it holds a password.
pub(crate) fn address(url: &str) -> Option<Uri> {
    let address: Uri = url.parse().ok()?;
    let is_plain = address.authority().is_some_and(|authority| !authority.as_str().contains('@') && !authority.host().is_empty());
    (is_plain && matches!(address.scheme_str(), Some("http" | "https"))).then_some(address)
}

/// Whether asking again changes nothing. A webhook that refers elsewhere is not followed: what is posted is for whom the configuration names.
fn is_final(status: StatusCode) -> bool {
    let later = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY);
    !later && (status.is_redirection() || status.is_client_error())
}
