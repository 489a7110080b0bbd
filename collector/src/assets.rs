//! The web page, built into the program.

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use flamekeeper_wire::gzip;

/// A file of the page.
struct Asset {
    /// Below the page's root.
    path: &'static str,
    etag: &'static str,
    gzip: &'static [u8],
}

const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// No file of the page is larger, decompressed.
const MAX_BYTES: usize = 16 << 20;

/// The page runs its own scripts and styles, asks its own server, and nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// What is no page loads nothing, and is in no frame.
const CLOSED: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Gives every answer, of the API too, what keeps browsers from taking it for something else; what it says by itself stays.
pub(crate) async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(CLOSED);
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    // Another site's page cannot have it as an image or a script, whoever looks at that page.
    headers.entry("cross-origin-resource-policy").or_insert(HeaderValue::from_static("same-origin"));
    response
}

/// Answers with a file of the page. A path that is no file is a place within the page, which `index.html` opens; below
/// `/api` and `/assets` it is nothing.
pub(crate) async fn serve(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let place_in_page =
        !path.starts_with("api/") && !path.starts_with("v1development/") && !path.starts_with("assets/") && !path.contains('.');
    let found = ASSETS.iter().find(|asset| asset.path == path);
    let index = || ASSETS.iter().find(|asset| asset.path == "index.html" && place_in_page);
    match found.or_else(index) {
        Some(asset) => asset.respond(&headers),
        None => (
            StatusCode::NOT_FOUND,
            axum::Json(serde_json::json!({ "error": format!("there is nothing at {:?}; see docs/http-api.md", uri.path()) })),
        )
            .into_response(),
    }
}

impl Asset {
    fn respond(&self, request: &HeaderMap) -> Response {
        let known = request.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == self.etag.as_bytes());
        let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { self.body(request) };
        let headers = response.headers_mut();
        // Vite puts a hash of the content into the names below assets/.
        let cache = if self.path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        headers.insert(header::ETAG, HeaderValue::from_static(self.etag));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }

    fn body(&self, request: &HeaderMap) -> Response {
        let content_type = (header::CONTENT_TYPE, HeaderValue::from_static(self.content_type()));
        let accepts =
            request.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("gzip"));
        if accepts {
            return ([content_type, (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))], self.gzip).into_response();
        }
        match gzip::decompress(self.gzip, MAX_BYTES) {
            Ok(bytes) => ([content_type], bytes).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }

    fn content_type(&self) -> &'static str {
        match self.path.rsplit_once('.').map(|(_, ending)| ending) {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            Some("json" | "webmanifest") => "application/json",
            _ => "application/octet-stream",
        }
    }
}
