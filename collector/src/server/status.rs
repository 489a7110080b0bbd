//! `GET /api/v1/status`, `/metrics`, `/healthz` and `/readyz`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flamekeeper_profile::Timestamp;
use flamekeeper_symbolizer::{SymbolStatus, SymbolStore};
use serde::Serialize;

use super::metrics;
use crate::debuginfod::Debuginfod;
use crate::http::{ApiError, Queries};
use crate::ingest::{IngestCounters, Uploads};
use crate::store::{Store, StoreStatus};
use crate::webhook::Announcer;

/// What the status tells of.
#[derive(Clone)]
pub(super) struct StatusState {
    pub(super) store: Arc<dyn Store>,
    pub(super) symbols: Arc<SymbolStore>,
    pub(super) uploads: Arc<Uploads>,
    pub(super) debuginfod: Option<Arc<Debuginfod>>,
    pub(super) announcer: Option<Arc<Announcer>>,
    pub(super) counters: Arc<IngestCounters>,
    pub(super) queries: Arc<Queries>,
    pub(super) doors: super::Doors,
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
    /// Batches that were not taken, by reason.
    refused: BTreeMap<&'static str, u64>,
    samples_taken: u64,
    samples_stored: u64,
    lost: BTreeMap<&'static str, u64>,
    store_bytes: u64,
    store: StoreJson,
    memory: MemoryJson,
    symbols: Symbols,
    uploads: UploadStatus,
    /// Absent where no servers are configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    debuginfod: Option<BTreeMap<&'static str, u64>>,
}

/// As [`crate::ingest::UploadCounters`] says.
#[derive(Serialize)]
struct UploadStatus {
    under_way: usize,
    bytes: u64,
    objects: u64,
    refused: u64,
    abandoned: u64,
}

/// As [`crate::memory::Pressure`] says.
#[derive(Serialize)]
struct MemoryJson {
    limit: u64,
    anonymous: u64,
    sent_away: u64,
}

/// From when on the tiers hold everything (seconds since the epoch, 0 for ever), and what keeping them took.
#[derive(Serialize)]
struct StoreJson {
    writable: bool,
    raw_from: f64,
    minute_from: f64,
    hour_from: f64,
    lacking: u64,
    slots_deleted: u64,
    deleted_by_size: u64,
    refused_full: u64,
}

impl From<&StoreStatus> for StoreJson {
    fn from(status: &StoreStatus) -> Self {
        Self {
            writable: status.writable,
            raw_from: status.raw_from.as_seconds(),
            minute_from: status.minute_from.as_seconds(),
            hour_from: status.hour_from.as_seconds(),
            lacking: status.lacking,
            slots_deleted: status.deleted.slots,
            deleted_by_size: status.deleted.by_size,
            refused_full: status.refused_full,
        }
    }
}

/// As [`flamekeeper_symbolizer::SymbolStatus`] says.
#[derive(Serialize)]
struct Symbols {
    objects: usize,
    bytes: u64,
    quota_bytes: u64,
    bad: usize,
    conversions: u64,
    failures: BTreeMap<&'static str, u64>,
    evictions: u64,
    evicted_bytes: u64,
    cache_hits: u64,
    cache_misses: u64,
}

impl From<SymbolStatus> for Symbols {
    fn from(status: SymbolStatus) -> Self {
        Self {
            objects: status.objects,
            bytes: status.bytes,
            quota_bytes: status.quota_bytes,
            bad: status.bad,
            conversions: status.conversions,
            failures: status.failures,
            evictions: status.evictions,
            evicted_bytes: status.evicted_bytes,
            cache_hits: status.cache_hits,
            cache_misses: status.cache_misses,
        }
    }
}

pub(super) fn routes(state: StatusState) -> Router {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .with_state(state)
}

async fn status(State(state): State<StatusState>) -> Result<Response, ApiError> {
    let status = tokio::task::spawn_blocking(move || describe(&state)).await.map_err(|_| ApiError::Internal)??;
    Ok(axum::Json(status).into_response())
}

fn describe(state: &StatusState) -> Result<Status, ApiError> {
    let status = state.store.status()?;
    let StoreStatus { batches, ledger, samples_stored, bytes, .. } = status;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        started: state.started.as_seconds(),
        batches,
        duplicates: count(&state.counters.duplicates),
        rejected: count(&state.counters.rejected),
        deferred: count(&state.counters.deferred),
        refused: state.counters.refusals(),
        samples_taken: ledger.taken,
        samples_stored,
        lost: ledger.losses().map(|(reason, count)| (reason.as_str(), count)).collect(),
        store_bytes: bytes,
        store: StoreJson::from(&status),
        memory: MemoryJson {
            limit: state.queries.pressure.limit(),
            anonymous: state.queries.pressure.anonymous(),
            sent_away: state.queries.pressure.sent_away(),
        },
        symbols: state.symbols.status().into(),
        uploads: UploadStatus {
            under_way: state.uploads.under_way(),
            bytes: count(&state.uploads.counters.bytes),
            objects: count(&state.uploads.counters.objects),
            refused: count(&state.uploads.counters.refused),
            abandoned: count(&state.uploads.counters.abandoned),
        },
        debuginfod: state.debuginfod.as_ref().map(|debuginfod| {
            let counters = debuginfod.counters();
            let figures = [("found", &counters.found), ("absent", &counters.absent), ("failed", &counters.failed)];
            figures.into_iter().map(|(name, counter)| (name, count(counter))).collect()
        }),
    })
}

async fn metrics(State(state): State<StatusState>) -> Result<Response, ApiError> {
    let text = tokio::task::spawn_blocking(move || metrics::text(&state)).await.map_err(|_| ApiError::Internal)??;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

/// Whether this process does its work: what restarts it may ask here.
async fn health(State(state): State<StatusState>) -> Response {
    let status = tokio::task::spawn_blocking(move || state.store.status()).await;
    match status {
        Ok(Ok(StoreStatus { writable: true, .. })) => "ok\n".into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the store takes no batches; the log says why\n").into_response(),
    }
}

/// Whether agents and people should be sent here now: what shares out load may ask.
async fn ready(State(state): State<StatusState>) -> Response {
    let store = Arc::clone(&state.store);
    let Ok(status) = tokio::task::spawn_blocking(move || store.status()).await else {
        return ApiError::Internal.into_response();
    };
    let why = match status {
        Ok(StoreStatus { writable: true, .. }) if state.queries.pressure.is_high() => "memory is near its limit".to_owned(),
        Ok(StoreStatus { writable: true, .. }) => return "ready\n".into_response(),
        Ok(_) => "the store takes no batches: it is full, or its disk refused one".to_owned(),
        Err(error) => error.to_string(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}
