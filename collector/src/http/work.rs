//! Runs questions off the async threads, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use tokio::sync::Semaphore;

use super::QueryState;
use super::answer::Answer;
use super::error::ApiError;
use super::params::Params;

/// How much may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Questions that are worked on at once.
    pub concurrent: usize,
    /// How long a further one waits for its turn before it is sent away. A page asks some six at once, which must not be
    /// too many for it.
    pub patience: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self { concurrent: 4, patience: Duration::from_secs(5) }
    }
}

/// An endpoint: blocks while it works.
pub(super) type Endpoint = fn(&QueryState, Params) -> Result<Answer, ApiError>;

/// What the endpoints ask, behind a limit.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    state: QueryState,
    permits: Arc<Semaphore>,
}

impl Gate {
    pub(super) fn new(state: QueryState) -> Self {
        let permits = Arc::new(Semaphore::new(state.limits.concurrent));
        Self { state, permits }
    }

    async fn answer(self, endpoint: Endpoint, params: Params) -> Result<Answer, ApiError> {
        let turn = tokio::time::timeout(self.state.limits.patience, Arc::clone(&self.permits).acquire_owned());
        let permit = turn.await.map_err(|_| ApiError::Busy)?.map_err(|_| ApiError::Internal)?;
        let work = move || {
            // Held until the work is done, even where the client has left: the work goes on without it.
            let _permit = permit;
            endpoint(&self.state, params)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::Internal)?
    }
}

/// The route of an endpoint.
pub(super) fn get(endpoint: Endpoint) -> MethodRouter<Gate> {
    axum::routing::get(move |State(gate): State<Gate>, path: RawPathParams, headers: HeaderMap, uri: Uri| {
        serve(gate, endpoint, path, headers, uri)
    })
}

async fn serve(gate: Gate, endpoint: Endpoint, path: RawPathParams, headers: HeaderMap, uri: Uri) -> Response {
    let name = path.iter().next().map(|(_, value)| value.to_owned()).unwrap_or_default();
    let params = match Params::of(&uri, name, (gate.state.now)()) {
        Ok(params) => params,
        Err(error) => return error.into_response(),
    };
    match gate.answer(endpoint, params).await {
        Ok(answer) => answer.respond(&headers),
        Err(error) => error.into_response(),
    }
}
