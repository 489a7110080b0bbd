//! The uploader's requests and what their answers mean.

use std::time::Duration;

use flamekeeper_profile::BuildId;
use flamekeeper_wire::lz4;
use flamekeeper_wire::symbols::{OFFERS_PATH, OfferAnswer, Offers, PartAnswer, part_path};
use reqwest::{StatusCode, header};

use crate::config::value::CollectorAddress;
use crate::ship::{ClientError, http_client, retry_after};
use crate::stop::StopFlag;

/// The time that one request may take: the answer to the last part comes when the symbols are converted.
const TIMEOUT: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_millis(250);
/// Bytes of an answer that are read: some thousand build ids of the greatest length.
const MAX_ANSWER: usize = 1 << 20;

/// Why a request did not get through; it is tried again later.
#[derive(Debug, thiserror::Error)]
pub(super) enum Later {
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
    /// The pause that the collector asks for.
    pub(super) const fn asked(&self) -> Option<Duration> {
        if let Self::Status(_, after) = self { *after } else { None }
    }
}

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The next begins here.
    Next(u64),
    /// It was the last, and the collector has taken the object.
    Done,
    /// The lease is no more.
    NoLease,
    /// The collector will never take it.
    Refused(StatusCode),
}

/// Talks to one collector.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    collector: CollectorAddress,
    stop: StopFlag,
}

impl Client {
    pub(super) fn new(collector: &CollectorAddress, stop: StopFlag) -> Result<Self, ClientError> {
        Ok(Self { http: http_client(TIMEOUT)?, collector: collector.clone(), stop })
    }

    pub(super) async fn offer(&self, offers: &Offers) -> Result<OfferAnswer, Later> {
        let request = self.http.post(self.collector.join(OFFERS_PATH)).header(header::CONTENT_TYPE, "application/json");
        let response = self.send(request.body(serde_json::to_vec(offers)?)).await?;
        if response.status() != StatusCode::OK {
            return Err(Later::Status(response.status(), retry_after(&response)));
        }
        Ok(serde_json::from_slice(&body(response).await?)?)
    }

    /// Sends a part, compressed where that makes it smaller. Also returns how many bytes were sent.
    pub(super) async fn part(&self, id: &BuildId, lease: &str, offset: u64, part: Body) -> Result<Part, Later> {
        let mut request = self.http.put(self.collector.join(&part_path(&id.to_string(), lease, offset)));
        if part.compressed {
            request = request.header(header::CONTENT_ENCODING, lz4::ENCODING);
        }
        let response = self.send(request.body(part.bytes)).await?;
        match response.status() {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(Part::Done),
            StatusCode::ACCEPTED | StatusCode::CONFLICT => {
                let answer: PartAnswer = serde_json::from_slice(&body(response).await?)?;
                Ok(Part::Next(answer.received))
            }
            StatusCode::GONE => Ok(Part::NoLease),
            status if is_final(status) => Ok(Part::Refused(status)),
            status => Err(Later::Status(status, retry_after(&response))),
        }
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

/// A part as it is sent.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    compressed: bool,
}

impl Body {
    /// Compressed, unless that gains less than an eighth: sections may be compressed already.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let small = lz4::compress(bytes);
        if small.len() < bytes.len() / 8 * 7 {
            Self { bytes: small, compressed: true }
        } else {
            Self { bytes: bytes.to_vec(), compressed: false }
        }
    }
}

async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, Later> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER.saturating_sub(bytes.len()))]);
    }
    Ok(bytes)
}

/// Answers that another try would not change.
fn is_final(status: StatusCode) -> bool {
    let kept =
        [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE, StatusCode::UNPROCESSABLE_ENTITY];
    kept.contains(&status)
}
