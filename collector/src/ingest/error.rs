//! Why something that an agent sent was not taken.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flamekeeper_profile::ParseBuildIdError;
use flamekeeper_symbolizer::AddError;
use flamekeeper_wire::gzip::GunzipError;
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
    /// It is compressed in a way that is not understood.
    #[error("Content-Encoding {0:?} is not understood; send gzip or none")]
    Encoding(String),
    /// It is damaged gzip, or would be too large.
    #[error(transparent)]
    Gunzip(#[from] GunzipError),
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
    /// The body is no list of build ids.
    #[error("the body must be {{\"build_ids\": [...]}} with at most {limit} entries: {message}")]
    Request {
        /// The limit.
        limit: usize,
        /// What is wrong.
        message: String,
    },
    /// The object cannot be used.
    #[error(transparent)]
    Symbols(#[from] AddError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no room for more at the moment.
    #[error("the collector is busy; send it again in a moment")]
    Busy,
    /// The thread that worked on it ended early.
    #[error("the collector failed while it worked on the body; its log says why")]
    Internal,
}

impl IngestError {
    /// The HTTP status that goes with it. Only 4xx other than 408 and 429 are final for a sender.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } | Self::Gunzip(GunzipError::TooLarge { .. }) | Self::Decode(DecodeError::Limit { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
            // The sender still has the whole body: what arrived may be the network's fault.
            Self::Cut(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Gunzip(_) | Self::Decode(_) | Self::Invalid(_) | Self::Key(_) | Self::BuildId(_) | Self::Request { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::Store(StoreError::TooLong { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Symbols(error) if error.is_final() => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) | Self::Symbols(_) | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for IngestError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() && !matches!(self, Self::Busy) {
            tracing::error!(error = %self, "what an agent sent could not be stored");
        } else {
            tracing::debug!(error = %self, status = status.as_u16(), "what an agent sent was not taken");
        }
        let mut response = (status, axum::Json(serde_json::json!({ "error": self.to_string() }))).into_response();
        if matches!(self, Self::Busy) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
