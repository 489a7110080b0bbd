//! Why somebody is turned away, and what they can do.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flamekeeper_transport::{Scope, Scopes};

/// Why a request is turned away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "this collector wants a token: agents have it by token_file, the command line by --token-file, the page asks for it, others send \
         Authorization: Bearer TOKEN"
    )]
    Missing,
    #[error("this token is not known here (any more): ask who runs the collector for another")]
    Unknown,
    #[error(
        "{name:?} may {has} here, and this needs {needs}: use another token, or add the scope to this one in [access] of the collector"
    )]
    Scope { name: String, has: Scopes, needs: Scope },
    #[error("a page of another site asked for this in your name; it was not done")]
    Origin,
}

impl Refusal {
    /// All reasons.
    pub(crate) const REASONS: [&'static str; 4] = ["missing", "unknown", "scope", "origin"];

    /// The reason in one word, by which it is counted.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Scope { .. } => "scope",
            Self::Origin => "origin",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Missing | Self::Unknown => StatusCode::UNAUTHORIZED,
            Self::Scope { .. } | Self::Origin => StatusCode::FORBIDDEN,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = axum::Json(serde_json::json!({ "error": self.to_string() }));
        let mut response = (self.status(), [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], body).into_response();
        if self.status() == StatusCode::UNAUTHORIZED {
            // RFC 6750, 3.
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"flamekeeper\""));
        }
        response
    }
}
