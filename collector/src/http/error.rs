//! Errors as the API states them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flamekeeper_symbolizer::AddError;
use serde::Serialize;

use crate::deploys::MarksError;
use crate::query::diff::UncountedError;
use crate::query::time::TimeError;
use crate::render::SvgError;
use crate::selector::ParseSelectorError;
use crate::store::StoreError;
use crate::watch::Stopped;

/// Why a question has no answer, in words that say what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// A parameter is wrong.
    #[error("{0}")]
    Parameter(String),
    /// A time or window is.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// The selector is.
    #[error(transparent)]
    Selector(#[from] ParseSelectorError),
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The picture could not be drawn.
    #[error(transparent)]
    Svg(#[from] SvgError),
    /// The answer could not be encoded.
    #[error("the answer could not be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// An object was sent as something else.
    #[error("send the object as Content-Type: application/octet-stream, not compressed")]
    MediaType,
    /// An object is too large.
    #[error("the object is larger than the limit of {limit} bytes; send a copy without code and data (objcopy --only-keep-debug)")]
    ObjectTooLarge {
        /// The limit.
        limit: u64,
    },
    /// An object did not come in time.
    #[error("nothing of the object came for {seconds} s")]
    Slow {
        /// The time allowed.
        seconds: u64,
    },
    /// An object's symbols could not be stored, or not be removed.
    #[error(transparent)]
    Symbols(#[from] AddError),
    /// The work was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A mark could not be kept.
    #[error(transparent)]
    Marks(MarksError),
    /// Too many questions are under way.
    #[error("the collector is busy with other questions; ask again in a moment")]
    Busy,
    /// The thread that worked on it ended early.
    #[error("the collector failed while it worked on the answer; its log says why")]
    Internal,
}

impl From<UncountedError> for ApiError {
    fn from(error: UncountedError) -> Self {
        match error {
            UncountedError::Store(error) => Self::Store(error),
            other => Self::NotFound(other.to_string()),
        }
    }
}

#[derive(Serialize)]
struct ErrorJson {
    error: String,
}

impl ApiError {
    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Parameter(_) | Self::Time(_) | Self::Selector(_) | Self::Store(StoreError::Expired { .. }) => StatusCode::BAD_REQUEST,
            Self::Store(StoreError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Stopped(_) | Self::Store(StoreError::Stopped(_)) => StatusCode::GATEWAY_TIMEOUT,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ObjectTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Symbols(error) if error.is_final() => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy | Self::Store(StoreError::Full { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) | Self::Symbols(_) | Self::Marks(_) | Self::Svg(_) | Self::Encode(_) | Self::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::warn!(error = %self, "query failed");
        }
        let body = axum::Json(ErrorJson { error: self.to_string() });
        let mut response = (status, body).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self, Self::Busy) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
