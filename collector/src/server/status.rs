//! `GET /api/v1/status` and `GET /healthz`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flamekeeper_profile::Timestamp;
use flamekeeper_symbolizer::SymbolStore;
use serde::Serialize;

use crate::http::ApiError;
use crate::ingest::IngestCounters;
use crate::store::{Store, StoreStatus};

/// What the status tells of.
#[derive(Clone)]
pub(super) struct StatusState {
    pub(super) store: Arc<dyn Store>,
    pub(super) symbols: Arc<SymbolStore>,
    pub(super) counters: Arc<IngestCounters>,
    pub(super) started: Timestamp,
}

#[derive(Serialize)]
struct Status {
    version: &'static str,
    started: f64,
    batches: u64,
    duplicates: u64,
    rejected: u64,
    deferred: u64,
    samples_taken: u64,
    samples_stored: u64,
    lost: BTreeMap<&'static str, u64>,
    store_bytes: u64,
    symbols: Symbols,
}

#[derive(Serialize)]
struct Symbols {
    objects: usize,
    bytes: u64,
}

pub(super) fn routes(state: StatusState) -> Router {
    Router::new().route("/api/v1/status", get(status)).route("/healthz", get(health)).with_state(state)
}

async fn status(State(state): State<StatusState>) -> Result<Response, ApiError> {
    let status = tokio::task::spawn_blocking(move || describe(&state)).await.map_err(|_| ApiError::Internal)??;
    Ok(axum::Json(status).into_response())
}

fn describe(state: &StatusState) -> Result<Status, ApiError> {
    let StoreStatus { batches, ledger, samples_stored, bytes, .. } = state.store.status()?;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        started: state.started.as_seconds(),
        batches,
        duplicates: count(&state.counters.duplicates),
        rejected: count(&state.counters.rejected),
        deferred: count(&state.counters.deferred),
        samples_taken: ledger.taken,
        samples_stored,
        lost: ledger.losses().map(|(reason, count)| (reason.as_str(), count)).collect(),
        store_bytes: bytes,
        symbols: Symbols { objects: state.symbols.objects(), bytes: state.symbols.bytes() },
    })
}

async fn health(State(state): State<StatusState>) -> Response {
    let status = tokio::task::spawn_blocking(move || state.store.status()).await;
    match status {
        Ok(Ok(StoreStatus { writable: true, .. })) => "ok\n".into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the store takes no batches; the log says why\n").into_response(),
    }
}
