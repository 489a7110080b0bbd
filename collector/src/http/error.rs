//! Errors as the API states them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::query::time::TimeError;
use crate::render::SvgError;
use crate::selector::ParseSelectorError;
use crate::store::StoreError;

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
    /// Too many questions are under way.
    #[error("the collector is busy with other questions; ask again in a moment")]
    Busy,
    /// The thread that worked on it ended early.
    #[error("the collector failed while it worked on the answer; its log says why")]
    Internal,
}

#[derive(Serialize)]
struct ErrorJson {
    error: String,
}

impl ApiError {
    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Parameter(_) | Self::Time(_) | Self::Selector(_) => StatusCode::BAD_REQUEST,
            Self::Store(StoreError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) | Self::Svg(_) | Self::Encode(_) | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
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
