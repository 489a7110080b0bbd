//! Answers: content, compression, and what a cache may do with them.

use std::hash::{DefaultHasher, Hasher};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flamekeeper_wire::gzip;

/// Below this many bytes compression gains nothing.
const LEAST_COMPRESSED: usize = 1024;

/// A picture brings its own script and style, and may fetch nothing.
const SVG_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// JSON.
    Json(Vec<u8>),
    /// A picture.
    Svg(Vec<u8>),
    /// Plain text.
    Text(String),
    /// A gzipped pprof profile, to be saved under this name (ASCII).
    Pprof(Vec<u8>, String),
}

/// An answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is answered.
    pub body: Body,
    /// Whether the window is closed, so that a cache may keep the answer for a while. Not for ever: late batches and symbols
    /// can still change it, which is why its ETag is made from the content.
    pub closed: bool,
}

impl Body {
    fn into_parts(self) -> (Vec<u8>, Vec<(HeaderName, HeaderValue)>, bool) {
        let content_type = |text: &'static str| (header::CONTENT_TYPE, HeaderValue::from_static(text));
        match self {
            Self::Json(bytes) => (bytes, vec![content_type("application/json")], true),
            Self::Svg(bytes) => (bytes, vec![content_type("image/svg+xml"), (header::CONTENT_SECURITY_POLICY, SVG_POLICY)], true),
            Self::Text(text) => (text.into_bytes(), vec![content_type("text/plain; charset=utf-8")], true),
            Self::Pprof(bytes, name) => {
                let attachment = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
                let attachment = attachment.unwrap_or(HeaderValue::from_static("attachment"));
                (bytes, vec![content_type("application/octet-stream"), (header::CONTENT_DISPOSITION, attachment)], false)
            }
        }
    }
}

impl Answer {
    /// The response to a request with these headers.
    #[must_use]
    pub fn respond(self, request: &HeaderMap) -> Response {
        let (bytes, headers, compressible) = self.body.into_parts();
        let mut response = StatusCode::OK.into_response();
        response.headers_mut().extend(headers);
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        let cache = if self.closed { "private, max-age=30" } else { "no-store" };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        if self.closed {
            let tag = entity_tag(&bytes);
            if is_known(request, &tag) {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
            }
            // Quotes, letters and digits are a header's value always.
            response.headers_mut().extend(HeaderValue::try_from(tag).map(|tag| (header::ETAG, tag)));
            if response.status() == StatusCode::NOT_MODIFIED {
                return response;
            }
        }
        let compress = compressible && bytes.len() >= LEAST_COMPRESSED && accepts_gzip(request);
        if compress {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        *response.body_mut() = if compress { gzip::compress_small(&bytes) } else { bytes }.into();
        response
    }
}

/// A weak tag (RFC 9110, 8.8.3), since the compressed and the plain form share it. The hash is keyed with constants, so that
/// it outlives a restart.
fn entity_tag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("W/\"{:016x}-{:x}\"", hasher.finish(), bytes.len())
}

fn is_known(request: &HeaderMap, tag: &str) -> bool {
    let known = request.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let bare = tag.trim_start_matches("W/");
    known
        .flat_map(|value| value.split(','))
        .any(|value| matches!(value.trim().trim_start_matches("W/"), "*") || value.trim().trim_start_matches("W/") == bare)
}

/// Whether `Accept-Encoding` names gzip (or all) and does not refuse it (RFC 9110, 12.5.3).
fn accepts_gzip(request: &HeaderMap) -> bool {
    let codings = request.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let weight = |coding: &str| -> Option<bool> {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let named = matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case("gzip");
        let refused = weight.trim().strip_prefix("q=").and_then(|weight| weight.trim().parse::<f32>().ok()) == Some(0.0);
        named.then_some(!refused)
    };
    let mut named = codings.flat_map(|value| value.split(',')).filter_map(weight).peekable();
    named.peek().is_some() && named.all(|accepted| accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    /// Gzip is sent to who asks for it, and to nobody else.
    #[test]
    fn gzip_when_accepted() {
        for (value, accepted) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(&request(header::ACCEPT_ENCODING, value)), accepted, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    /// A closed window has a tag of its content, and an open one is never kept.
    #[test]
    fn tags_of_closed_windows() {
        let answer = |closed| Answer { body: Body::Json(vec![b'1'; 2000]), closed };
        let first = answer(true).respond(&HeaderMap::new());
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        assert_eq!(answer(true).respond(&request(header::IF_NONE_MATCH, &tag)).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer(true).respond(&request(header::IF_NONE_MATCH, &format!("\"x\", {tag}"))).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer(true).respond(&request(header::IF_NONE_MATCH, "\"x\"")).status(), StatusCode::OK);
        let open = answer(false).respond(&request(header::IF_NONE_MATCH, &tag));
        assert_eq!((open.status(), open.headers().get(header::ETAG)), (StatusCode::OK, None));
        assert_eq!(open.headers()[header::CACHE_CONTROL], "no-store");
    }
}
