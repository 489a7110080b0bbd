//! `POST /v1development/profiles`.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flamekeeper_wire::{AgentId, BATCH_CHECK, BATCH_OUTCOME, BatchCheck, BatchId, IDEMPOTENCY_KEY};
use sha2::{Digest as _, Sha256};

use super::{IngestCounters, IngestError, IngestState, decompressed, validate};
use crate::store::Appended;

/// Takes a batch and answers once it is durable.
pub(super) async fn receive(State(state): State<IngestState>, headers: HeaderMap, body: Body) -> Response {
    let counters = Arc::clone(&state.counters);
    match store(state, headers, body).await {
        Ok(appended) => {
            if appended == Appended::Duplicate {
                IngestCounters::count(&counters.duplicates);
            }
            accepted(appended)
        }
        Err(error) => {
            counters.refuse(&error);
            error.into_response()
        }
    }
}

async fn store(state: IngestState, headers: HeaderMap, body: Body) -> Result<Appended, IngestError> {
    if let Some(key) = headers.get(IDEMPOTENCY_KEY) {
        let id: BatchId = String::from_utf8_lossy(key.as_bytes()).parse().map_err(|error| damaged_or(&headers, error))?;
        if !state.gates.rates.admit(&id.agent, Instant::now()) {
            return Err(IngestError::TooOften);
        }
    }
    let (bytes, permit) = state.read(&headers, body, state.limits.batch.compressed_bytes).await?;
    let turn = tokio::time::timeout(state.limits.body_time, Arc::clone(&state.gates.decoders).acquire_owned());
    let turn = turn.await.map_err(|_| IngestError::Busy)?.map_err(|_| IngestError::Internal)?;
    let work = move || {
        let _held = (permit, turn);
        let id = identity(&headers, &bytes)?;
        check(&headers, &id, &bytes)?;
        let decompressed = decompressed(&headers, &bytes, state.limits.batch.decompressed_bytes)?;
        let batch = flamekeeper_wire::decode(&decompressed, &state.limits.batch)?;
        validate::validate(&batch, &state.limits.accepted, (state.now)())?;
        if let Some(debuginfod) = &state.debuginfod {
            debuginfod.note_seen(&batch.tables);
        }
        Ok(state.store.append(&id, batch)?)
    };
    // Once begun it is finished, even where the sender has left: it will send the batch again, and be told so.
    tokio::task::spawn_blocking(work).await.map_err(|_| IngestError::Internal)?
}

/// Compares a batch with the sum that its sender states, if it does.
fn check(headers: &HeaderMap, id: &BatchId, body: &[u8]) -> Result<(), IngestError> {
    let Some(stated) = headers.get(BATCH_CHECK) else { return Ok(()) };
    let encoding = headers.get(header::CONTENT_ENCODING).map_or(b"".as_slice(), |encoding| encoding.as_bytes());
    let sum = BatchCheck::of(id, &String::from_utf8_lossy(encoding), body);
    if sum.is(stated.as_bytes()) { Ok(()) } else { Err(IngestError::Damaged) }
}

/// A sender that states a sum makes no identity that is wrong: the way did.
fn damaged_or(headers: &HeaderMap, error: impl Into<IngestError>) -> IngestError {
    if headers.contains_key(BATCH_CHECK) { IngestError::Damaged } else { error.into() }
}

/// The batch's identity. A sender of another make states none; then it is the SHA-256 of the body, so that the same body
/// sent again is known as such.
fn identity(headers: &HeaderMap, body: &[u8]) -> Result<BatchId, IngestError> {
    if let Some(key) = headers.get(IDEMPOTENCY_KEY) {
        return Ok(String::from_utf8_lossy(key.as_bytes()).parse()?);
    }
    let digest = Sha256::digest(body);
    let (agent, sequence) = digest.split_at(24);
    let hex = agent.iter().fold("otlp_".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    let agent: AgentId = hex.parse()?;
    let sequence = sequence.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Ok(BatchId { agent, sequence })
}

/// An empty `ExportProfilesServiceResponse` is no bytes.
fn accepted(appended: Appended) -> Response {
    let outcome = match appended {
        Appended::Accepted => "accepted",
        Appended::Duplicate => "duplicate",
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf")),
        (HeaderName::from_static(BATCH_OUTCOME), HeaderValue::from_static(outcome)),
    ];
    (StatusCode::OK, headers).into_response()
}
