//! `/api/v1/session`: the page's form gives a token once, and gets it back as a cookie that scripts cannot read.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json};
use flamekeeper_transport::Scope;
use serde::{Deserialize, Serialize};

use super::caller::{self, is_of_our_page};
use super::{Caller, Gate, Refusal};
use crate::http::ApiError;

/// The cookie.
pub(super) const COOKIE_NAME: &str = "flamekeeper_token";
/// How long a browser keeps it, in seconds: 30 days.
const COOKIE_AGE: u32 = 30 * 24 * 3600;
/// Bytes of a token as it is posted.
const MOST_BYTES: usize = 4096;

/// The routes, which whoever has no token yet may ask.
pub(crate) fn session_routes(gate: Arc<Gate>) -> Router {
    let methods = get(show).post(begin).delete(end);
    Router::new().route("/api/v1/session", methods).layer(DefaultBodyLimit::max(MOST_BYTES)).with_state(gate)
}

#[derive(Serialize)]
struct SessionJson {
    /// Whether a token (or a proxy) is needed here.
    needed: bool,
    /// Who asks; absent where they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Whether they are known by the page's cookie, which the page can take back.
    signed_in: bool,
    /// What they may do.
    scopes: Vec<&'static str>,
}

impl SessionJson {
    fn of(gate: &Gate, caller: Option<Caller>, signed_in: bool) -> Self {
        let needed = gate.config.is_asked();
        let all = || Scope::ALL.map(Scope::as_str).to_vec();
        let scopes = match &caller {
            Some(caller) => caller.scopes.iter().map(Scope::as_str).collect(),
            None if needed => Vec::new(),
            None => all(),
        };
        Self { needed, name: caller.map(|caller| caller.name), signed_in, scopes }
    }
}

#[derive(Deserialize)]
struct Posted {
    token: String,
}

async fn show(State(gate): State<Arc<Gate>>, peer: Option<Extension<ConnectInfo<SocketAddr>>>, headers: HeaderMap) -> Response {
    let caller = gate.caller(&headers, peer.map(|peer| peer.0.0)).ok();
    let signed_in = caller.is_some() && !headers.contains_key(header::AUTHORIZATION) && caller::cookie(&headers).is_some();
    answer(&SessionJson::of(&gate, caller, signed_in), None)
}

async fn begin(
    State(gate): State<Arc<Gate>>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    posted: Result<Json<Posted>, JsonRejection>,
) -> Response {
    let Ok(Json(posted)) = posted else {
        return ApiError::Parameter("send {\"token\": \"...\"} as application/json".to_owned()).into_response();
    };
    if !gate.config.is_asked() {
        return answer(&SessionJson::of(&gate, None, false), None);
    }
    let token = posted.token.trim();
    let allowed = gate.bearer(token, true).and_then(|caller| {
        caller.allow(Scope::Read, &Method::POST, &headers)?;
        Ok(caller)
    });
    match allowed {
        Ok(caller) => answer(&SessionJson::of(&gate, Some(caller), true), Some(cookie(token, COOKIE_AGE, &headers))),
        Err(refusal) => {
            gate.turn_away(&refusal, peer.map(|peer| peer.0.0));
            refusal.into_response()
        }
    }
}

async fn end(headers: HeaderMap) -> Response {
    if !is_of_our_page(&headers) {
        return Refusal::Origin.into_response();
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().extend(HeaderValue::try_from(cookie("", 0, &headers)).map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

fn answer(session: &SessionJson, cookie: Option<String>) -> Response {
    let mut response = Json(session).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The letters of a token that is known are those of a header's value.
    response.headers_mut().extend(cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()).map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

/// Sent back to this collector only, by this page only, and over TLS only where it came by that.
fn cookie(token: &str, age: u32, headers: &HeaderMap) -> String {
    let origin = headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let proxy = headers.get(HeaderName::from_static("x-forwarded-proto")).is_some_and(|scheme| scheme == "https");
    let secure = if origin || proxy { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
}
