//! Symbols: which are missing, and their upload.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use flamekeeper_profile::BuildId;
use flamekeeper_symbolizer::Added;
use flamekeeper_wire::symbols::{MissingRequest, MissingResponse};

use super::{IngestError, IngestState, decompressed};

/// Bytes of a list of build ids.
const MAX_LIST: usize = 512 << 10;

/// `POST /api/v1/symbols/missing`.
pub(super) async fn missing(State(state): State<IngestState>, headers: HeaderMap, body: Body) -> Result<Response, IngestError> {
    let (bytes, _permit) = state.read(&headers, body, MAX_LIST).await?;
    let wrong = |message: String| IngestError::Request { limit: MissingRequest::MAX, message };
    let request: MissingRequest = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if request.build_ids.len() > MissingRequest::MAX {
        return Err(wrong(format!("there are {}", request.build_ids.len())));
    }
    let ids = request.build_ids.iter().map(|id| id.parse()).collect::<Result<Vec<BuildId>, _>>()?;
    let missing = tokio::task::spawn_blocking(move || state.symbols.missing(&ids)).await.map_err(|_| IngestError::Internal)?;
    let missing = missing.iter().map(ToString::to_string).collect();
    Ok(axum::Json(MissingResponse { missing }).into_response())
}

/// `PUT /api/v1/symbols/{build_id}`.
pub(super) async fn upload(
    State(state): State<IngestState>,
    Path(build_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, IngestError> {
    let id: BuildId = build_id.parse()?;
    // Before the body is read: it may be hundreds of megabytes, and only one is converted at a time.
    let turn = tokio::time::timeout(state.limits.body_time, Arc::clone(&state.gates.converter).acquire_owned());
    let turn = turn.await.map_err(|_| IngestError::Busy)?.map_err(|_| IngestError::Internal)?;
    let (bytes, permit) = state.read(&headers, body, state.limits.bytes_in_flight).await?;
    let work = move || {
        let _held = (permit, turn);
        let elf = decompressed(&headers, &bytes, state.limits.object_bytes)?;
        Ok(match state.symbols.add(&id, &elf)? {
            Added::Stored => StatusCode::NO_CONTENT,
            Added::AlreadyThere => StatusCode::OK,
        })
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| IngestError::Internal)?
}
