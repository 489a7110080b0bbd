//! Why something that an agent sent was not taken.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flamekeeper_profile::ParseBuildIdError;
use flamekeeper_symbolizer::AddError;
use flamekeeper_wire::gzip::GunzipError;
use flamekeeper_wire::lz4::Lz4Error;
use flamekeeper_wire::{DecodeError, ParseBatchIdError};

use super::validate::InvalidBatch;
use crate::store::StoreError;

/// Why a body was refused, or sent away for now.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// It is larger than the limit.
    #[error("the body is larger than {limit} bytes; send it in parts")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive within {seconds} s")]
    Slow {
        /// The time allowed.
        seconds: u64,
    },
    /// The connection ended within it.
    #[error("the body ended early: {0}")]
    Cut(#[source] axum::Error),
    /// It is not what was sent.
    #[error("the batch was damaged on the way: its {} does not fit it; send it again", flamekeeper_wire::BATCH_CHECK)]
    Damaged,
    /// It is compressed in a way that is not understood.
    #[error("Content-Encoding {0:?} is not understood; send gzip or none")]
    Encoding(String),
    /// It is damaged gzip, or would be too large.
    #[error(transparent)]
    Gunzip(#[from] GunzipError),
    /// It is a damaged LZ4 block, or would be too large.
    #[error(transparent)]
    Lz4(#[from] Lz4Error),
    /// It is no batch.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It is one that cannot be stored.
    #[error(transparent)]
    Invalid(#[from] InvalidBatch),
    /// The header that names the batch is wrong.
    #[error("the Idempotency-Key is wrong: {0}")]
    Key(#[from] ParseBatchIdError),
    /// The build id in the path is wrong.
    #[error(transparent)]
    BuildId(#[from] ParseBuildIdError),
    /// The body is no list of offers.
    #[error("the body must be {{\"agent\": ..., \"offers\": [...]}} with at most {limit} entries: {message}")]
    Request {
        /// The limit.
        limit: usize,
        /// What is wrong.
        message: String,
    },
    /// The object cannot be used.
    #[error(transparent)]
    Symbols(#[from] AddError),
    /// The part belongs to no upload that is under way.
    #[error("there is no such lease, or it has ended; offer the object again")]
    NoLease,
    /// The part is not as it was offered.
    #[error("every part but the last must be {} bytes long, and all together as long as was offered", flamekeeper_wire::symbols::MAX_PART)]
    PartLength,
    /// What was uploaded cannot be kept.
    #[error("an upload cannot be kept: {0}")]
    Upload(#[source] std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One agent sends more than its share.
    #[error("this agent sends too many batches; send it again in a moment")]
    TooOften,
    /// There is no room for more at the moment.
    #[error("the collector is busy; send it again in a moment")]
    Busy,
    /// The thread that worked on it ended early.
    #[error("the collector failed while it worked on the body; its log says why")]
    Internal,
}

impl IngestError {
    /// The reason in one word, by which it is counted.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. }
            | Self::Lz4(Lz4Error::TooLarge { .. })
            | Self::Gunzip(GunzipError::TooLarge { .. })
            | Self::Decode(DecodeError::Limit { .. })
            | Self::Store(StoreError::TooLong { .. }) => "too_large",
            Self::Slow { .. } => "slow",
            Self::Cut(_) => "cut",
            Self::Damaged => "damaged_on_the_way",
            Self::Encoding(_) => "encoding",
            Self::Gunzip(_) | Self::Lz4(_) | Self::Decode(_) => "damaged",
            Self::Invalid(invalid) => invalid.reason(),
            Self::Key(_) | Self::BuildId(_) | Self::Request { .. } => "request",
            Self::Symbols(_) => "symbols",
            Self::NoLease | Self::PartLength | Self::Upload(_) => "upload",
            Self::Store(StoreError::Expired { .. }) => "expired",
            Self::Store(StoreError::Full { .. }) => "full",
            Self::Store(StoreError::Closed) => "closed",
            Self::Store(_) => "store",
            Self::TooOften => "rate",
            Self::Busy => "busy",
            Self::Internal => "internal",
        }
    }

    /// For how many seconds the sender should wait, where there is no room for now.
    #[must_use]
    pub const fn pause(&self) -> Option<&'static str> {
        match self {
            Self::Busy | Self::TooOften => Some("2"),
            // The next pass that may make room.
            Self::Store(StoreError::Full { .. }) => Some("60"),
            _ => None,
        }
    }

    /// The HTTP status that goes with it. Only 4xx other than 408 and 429 are final for a sender.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. }
            | Self::Lz4(Lz4Error::TooLarge { .. })
            | Self::Gunzip(GunzipError::TooLarge { .. })
            | Self::Decode(DecodeError::Limit { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
            // The sender still has the whole body: what arrived may be the network's fault.
            Self::Cut(_) | Self::Damaged => StatusCode::REQUEST_TIMEOUT,
            Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Gunzip(_)
            | Self::Lz4(_)
            | Self::PartLength
            | Self::Decode(_)
            | Self::Invalid(_)
            | Self::Key(_)
            | Self::BuildId(_)
            | Self::Request { .. } => StatusCode::BAD_REQUEST,
            Self::TooOften => StatusCode::TOO_MANY_REQUESTS,
            Self::NoLease => StatusCode::GONE,
            Self::Store(StoreError::Expired { .. }) => StatusCode::BAD_REQUEST,
            Self::Store(StoreError::TooLong { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Symbols(error) if error.is_final() => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy | Self::Store(StoreError::Full { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) | Self::Symbols(_) | Self::Upload(_) | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for IngestError {
    fn into_response(self) -> Response {
        let status = self.status();
        let pause = self.pause();
        if status.is_server_error() && pause.is_none() {
            tracing::error!(error = %self, "what an agent sent could not be stored");
        } else {
            tracing::debug!(error = %self, status = status.as_u16(), "what an agent sent was not taken");
        }
        let mut response = (status, axum::Json(serde_json::json!({ "error": self.to_string() }))).into_response();
        if let Some(seconds) = pause {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sender is told to wait where there is no room, and to give up where a batch can never be stored.
    #[test]
    fn full_and_expired() {
        let response = |error: StoreError| IngestError::from(error).into_response();
        let full = response(StoreError::Full { what: "nothing is free" });
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(full.headers().get(header::RETRY_AFTER).unwrap(), "60");
        let expired = response(StoreError::Expired { kept_from: 5.0 });
        assert_eq!((expired.status(), expired.headers().get(header::RETRY_AFTER)), (StatusCode::BAD_REQUEST, None));
        assert_eq!(response(StoreError::Closed).status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
