//! Who is let in: every request is asked for what its route needs (`need`), before anything else is done with it.
//!
//! Whoever asks says who they are by a token (`Authorization: Bearer`, or the cookie that the page's form gets, `session`), or a
//! reverse proxy says it by a header, which is believed from its addresses only. Without tokens and header nobody is asked;
//! [`crate::config::AccessConfig::check`] holds that this is so on the loopback interface only, or where it was said.

mod caller;
mod need;
mod refusal;
mod session;
mod tls;
mod tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

pub(crate) use caller::Caller;
pub(crate) use need::{Need, needed};
pub(crate) use refusal::Refusal;
pub(crate) use session::session_routes;
pub(crate) use tls::Tls;
pub(crate) use tokens::{Tokens, hash_line};

use crate::config::AccessConfig;

/// How often it is said in the log that somebody was turned away.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// What stands at the door.
#[derive(Debug)]
pub(crate) struct Gate {
    config: AccessConfig,
    tokens: Tokens,
    refusals: Mutex<Refusals>,
}

#[derive(Debug, Default)]
struct Refusals {
    by_reason: BTreeMap<&'static str, u64>,
    said: Option<Instant>,
    since: u64,
}

impl Gate {
    /// Reads the tokens.
    ///
    /// # Errors
    /// Names the file that is of no use.
    pub(crate) fn open(config: &AccessConfig) -> Result<Self, tokens::TokensError> {
        Ok(Self { config: config.clone(), tokens: Tokens::read(&config.tokens)?, refusals: Mutex::default() })
    }

    /// Reads again what has changed.
    pub(crate) fn refresh(&self) {
        self.tokens.refresh();
    }

    /// Tokens that are good for something now.
    pub(crate) fn known_tokens(&self) -> usize {
        self.tokens.known()
    }

    /// Requests that were turned away, by reason.
    pub(crate) fn refusals(&self) -> BTreeMap<&'static str, u64> {
        let mut all: BTreeMap<_, _> = Refusal::REASONS.into_iter().map(|reason| (reason, 0)).collect();
        all.extend(self.refusals.lock().unwrap_or_else(PoisonError::into_inner).by_reason.clone());
        all
    }

    /// Counts, and says once a minute that there are some: whoever is turned away a thousand times writes no thousand lines.
    fn turn_away(&self, refusal: &Refusal, peer: Option<SocketAddr>) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.by_reason.entry(refusal.reason()).or_default() += 1;
        refusals.since += 1;
        if refusals.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            let peer = peer.map(|peer| peer.ip().to_string()).unwrap_or_default();
            tracing::warn!(reason = refusal.reason(), peer, requests = refusals.since, "requests were turned away");
            (refusals.said, refusals.since) = (Some(Instant::now()), 0);
        }
    }
}

/// Lets a request through that may do what its route needs, and answers the others.
pub(crate) async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let need = match needed(request.method(), request.uri().path()) {
        Need::Scope(scope) if gate.config.is_asked() => scope,
        _ => return next.run(request).await,
    };
    let allowed = gate.caller(request.headers(), peer).and_then(|caller| caller.allow(need, request.method(), request.headers()));
    match allowed {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            gate.turn_away(&refusal, peer);
            refusal.into_response()
        }
    }
}
