//! The GET side of the HTTP API (`docs/http-api.md`).
//!
//! An endpoint is a plain function from parameters to an answer, in a module of its own; `work` runs it off the
//! async threads. What can be said of a window (merge, name, render) is [`crate::query`]'s and [`crate::render`]'s.

mod answer;
mod catalog;
mod error;
mod flamegraph;
mod params;
mod timeseries;
mod top;
mod work;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use flamekeeper_profile::Timestamp;
use flamekeeper_symbolizer::Symbolize;

use crate::store::Store;

pub use answer::{Answer, Body};
pub use error::ApiError;
pub use params::Params;
pub use work::QueryLimits;

/// What the endpoints ask.
#[derive(Clone)]
pub struct QueryState {
    /// The stored profiles.
    pub store: Arc<dyn Store>,
    /// The names.
    pub symbols: Arc<dyn Symbolize + Send + Sync>,
    /// The wall clock, for times relative to now.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// How much may be under way at once.
    pub limits: QueryLimits,
}

impl fmt::Debug for QueryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryState").field("store", &self.store).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The routes of all questions about profiles.
pub fn query_routes(state: QueryState) -> Router {
    let gate = work::Gate::new(state);
    Router::new()
        .route("/api/v1/flamegraph", work::get(flamegraph::answer))
        .route("/api/v1/top", work::get(top::answer))
        .route("/api/v1/timeseries", work::get(timeseries::answer))
        .route("/api/v1/services", work::get(catalog::services))
        .route("/api/v1/hosts", work::get(catalog::hosts))
        .route("/api/v1/labels", work::get(catalog::labels))
        .route("/api/v1/labels/{name}/values", work::get(catalog::label_values))
        .route("/api/v1/types", work::get(catalog::types))
        .with_state(gate)
}
