//! What each route needs. `docs/openapi.json` says the same, which a test holds.

use axum::http::Method;
use flamekeeper_transport::Scope;
use flamekeeper_wire::PROFILES_PATH;
use flamekeeper_wire::symbols::UPLOAD_PATH;

/// What a request must be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: the page's files, which are in every copy of this program, and whether the collector is well.
    Nothing,
    /// This.
    Scope(Scope),
}

/// What a request needs. What is not known to be harmless needs everything, so that a route that is added and forgotten here is
/// closed, not open.
pub(crate) fn needed(method: &Method, path: &str) -> Need {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match path {
        "/healthz" | "/readyz" | "/api/v1/openapi.json" if reads => Need::Nothing,
        "/api/v1/session" => Need::Nothing,
        PROFILES_PATH | "/api/v1/deploys" | "/api/v1/requests" if *method == Method::POST => Need::Scope(Scope::Ingest),
        "/metrics" if reads => Need::Scope(Scope::Read),
        path if is_api(path) && reads => Need::Scope(Scope::Read),
        "/api/v1/symbols" if *method == Method::POST => Need::Scope(Scope::Symbols),
        path if path.starts_with(UPLOAD_PATH) && matches!(*method, Method::POST | Method::PUT) => Need::Scope(Scope::Symbols),
        path if reads && !is_closed(path) => Need::Nothing,
        _ => Need::Scope(Scope::Admin),
    }
}

fn is_api(path: &str) -> bool {
    path.starts_with("/api/")
}

/// Whether a path could be more than a place in the page.
fn is_closed(path: &str) -> bool {
    is_api(path) || path.starts_with("/v1development") || path.starts_with("/metrics")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each kind of route, and what is not known.
    #[test]
    fn routes() {
        let scope = |method: &str, path: &str| match needed(&method.parse().unwrap(), path) {
            Need::Nothing => "",
            Need::Scope(scope) => scope.as_str(),
        };
        let cases = [
            ("GET", "/", ""),
            ("GET", "/explore", ""),
            ("GET", "/assets/x.js", ""),
            ("GET", "/healthz", ""),
            ("POST", "/healthz", "admin"),
            ("POST", "/api/v1/session", ""),
            ("GET", "/metrics", "read"),
            ("HEAD", "/api/v1/top", "read"),
            ("GET", "/api/v2/whatever", "read"),
            ("GET", "/metrics/x", "admin"),
            ("POST", "/v1development/profiles", "ingest"),
            ("GET", "/v1development/profiles", "admin"),
            ("POST", "/v1development/other", "admin"),
            ("POST", "/api/v1/deploys", "ingest"),
            ("POST", "/api/v1/requests", "ingest"),
            ("GET", "/api/v1/requests", "read"),
            ("POST", "/api/v1/symbols", "symbols"),
            ("POST", "/api/v1/symbols/offers", "symbols"),
            ("PUT", "/api/v1/symbols/gnu:ab", "symbols"),
            ("PUT", "/api/v1/symbols/gnu:ab/parts/x/0", "symbols"),
            ("DELETE", "/api/v1/symbols/gnu:ab", "admin"),
            ("POST", "/api/v1/new", "admin"),
            ("OPTIONS", "/api/v1/top", "admin"),
        ];
        for (method, path, expected) in cases {
            assert_eq!(scope(method, path), expected, "{method} {path}");
        }
    }
}
