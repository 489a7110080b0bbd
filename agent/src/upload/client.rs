//! The uploader's requests and what their answers mean.

use std::time::Duration;

use bytes::Bytes;
use flamekeeper_profile::BuildId;
use flamekeeper_transport::{Answer, Credentials, ExchangeError};
use flamekeeper_wire::lz4;
use flamekeeper_wire::symbols::{OFFERS_PATH, OfferAnswer, Offers, PartAnswer, part_path};
use http_body_util::Full;
use hyper::{Request, StatusCode, header};

use crate::config::value::CollectorAddress;
use crate::ship::{ClientError, http_client, retry_after};
use crate::stop::StopFlag;

/// The time that one request may take: the answer to the last part comes when the symbols are converted.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes of an answer that are read: some thousand build ids of the greatest length.
const MAX_ANSWER: usize = 1 << 20;

/// Why a request did not get through; it is tried again later.
#[derive(Debug, thiserror::Error)]
pub(super) enum Later {
    #[error("the agent is ending")]
    Stopping,
    #[error("it cannot be asked: {0}")]
    Request(#[from] hyper::http::Error),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
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
    http: flamekeeper_transport::Client,
    collector: CollectorAddress,
    stop: StopFlag,
}

impl Client {
    pub(super) fn new(collector: &CollectorAddress, credentials: &Credentials, stop: StopFlag) -> Result<Self, ClientError> {
        Ok(Self { http: http_client(collector, credentials, TIMEOUT)?, collector: collector.clone(), stop })
    }

    pub(super) async fn offer(&self, offers: &Offers) -> Result<OfferAnswer, Later> {
        let request = Request::post(self.collector.join(OFFERS_PATH)).header(header::CONTENT_TYPE, "application/json");
        let answer = self.send(request.body(Full::from(serde_json::to_vec(offers)?))?).await?;
        if answer.status != StatusCode::OK {
            return Err(Later::Status(answer.status, retry_after(&answer.headers)));
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// Sends a part, compressed where that makes it smaller. Also returns how many bytes were sent.
    pub(super) async fn part(&self, id: &BuildId, lease: &str, offset: u64, part: Body) -> Result<Part, Later> {
        let mut request = Request::put(self.collector.join(&part_path(&id.to_string(), lease, offset)));
        if part.compressed {
            request = request.header(header::CONTENT_ENCODING, lz4::ENCODING);
        }
        let answer = self.send(request.body(Full::from(part.bytes))?).await?;
        match answer.status {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(Part::Done),
            StatusCode::ACCEPTED | StatusCode::CONFLICT => {
                let answer: PartAnswer = serde_json::from_slice(&answer.body)?;
                Ok(Part::Next(answer.received))
            }
            StatusCode::GONE => Ok(Part::NoLease),
            status if is_final(status) => Ok(Part::Refused(status)),
            status => Err(Later::Status(status, retry_after(&answer.headers))),
        }
    }

    /// Sends a request, unless the agent ends meanwhile.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Later> {
        tokio::select! {
            answer = self.http.exchange(request, MAX_ANSWER) => Ok(answer?),
            () = self.stop.raised() => Err(Later::Stopping),
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

/// Answers that another try would not change.
fn is_final(status: StatusCode) -> bool {
    let kept =
        [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE, StatusCode::UNPROCESSABLE_ENTITY];
    kept.contains(&status)
}
