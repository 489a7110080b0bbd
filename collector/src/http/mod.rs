//! The GET side of the HTTP API (`docs/http-api.md`).
//!
//! An endpoint is a plain function from parameters to an answer, in a module of its own; `work` runs it off the
//! async threads. What can be said of a window (merge, name, render) is [`crate::query`]'s and [`crate::render`]'s.

mod answer;
mod catalog;
mod deploys;
mod diff;
mod error;
mod flamegraph;
mod heatmap;
mod leaks;
mod level;
mod memory;
mod params;
mod queries;
mod requests;
mod symbols;
mod timeseries;
mod top;
mod work;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use flamekeeper_profile::Timestamp;
use flamekeeper_symbolizer::Symbolize;

use crate::deploys::Marks;
use crate::store::Store;

pub use answer::{Answer, Body};
pub use error::ApiError;
pub use params::Params;
pub use symbols::{SymbolsState, symbol_routes};
pub use work::{Queries, QueryCounters, QueryLimits, Running};

/// The API, described for programs: OpenAPI 3.1, written by hand.
const DESCRIPTION: &str = include_str!("../../../docs/openapi.json");

/// What the endpoints ask.
#[derive(Clone)]
pub struct QueryState {
    /// The stored profiles.
    pub store: Arc<dyn Store>,
    /// The names.
    pub symbols: Arc<dyn Symbolize + Send + Sync>,
    /// The wall clock, for times relative to now.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// What was said of deploys.
    pub marks: Arc<Marks>,
    /// How much may be under way at once.
    pub limits: QueryLimits,
}

impl fmt::Debug for QueryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryState").field("store", &self.store).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The routes of all questions about profiles; `queries` lists and counts them.
pub fn query_routes(state: QueryState, queries: &Arc<Queries>) -> Router {
    let listed = (Arc::clone(queries), state.limits);
    let list = Router::new().route("/api/v1/queries", axum::routing::get(queries::list)).with_state(listed);
    let described = axum::routing::get(|| std::future::ready(([(header::CONTENT_TYPE, "application/json")], DESCRIPTION)));
    let marks = deploys::mark_routes(&state);
    let counts = requests::post_routes(&state);
    let gate = work::Gate::new(state, Arc::clone(queries));
    Router::new()
        .route("/api/v1/flamegraph", work::get(flamegraph::answer))
        .route("/api/v1/deploys", work::get(deploys::list))
        .route("/api/v1/deploys/compare", work::get(deploys::compare))
        .route("/api/v1/diff", work::get(diff::answer))
        .route("/api/v1/top", work::get(top::answer))
        .route("/api/v1/leaks", work::get(leaks::answer))
        .route("/api/v1/memory", work::get(memory::answer))
        .route("/api/v1/timeseries", work::get(timeseries::answer))
        .route("/api/v1/heatmap", work::get(heatmap::answer))
        .route("/api/v1/requests", work::get(requests::list))
        .route("/api/v1/services", work::get(catalog::services))
        .route("/api/v1/hosts", work::get(catalog::hosts))
        .route("/api/v1/labels", work::get(catalog::labels))
        .route("/api/v1/labels/{name}/values", work::get(catalog::label_values))
        .route("/api/v1/types", work::get(catalog::types))
        .with_state(gate)
        .route("/api/v1/openapi.json", described)
        .merge(list)
        .merge(marks)
        .merge(counts)
}
