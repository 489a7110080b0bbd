//! `GET /api/v1/queries`: the questions under way, and how far they are.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::work::{Queries, QueryLimits};

#[derive(Serialize)]
pub(super) struct QueriesJson {
    /// Questions that may be worked on at once.
    concurrent: usize,
    /// Questions that may wait for their turn.
    waiting: usize,
    /// Seconds that one may take.
    limit_seconds: f64,
    running: Vec<RunningJson>,
}

#[derive(Serialize)]
struct RunningJson {
    id: u64,
    question: String,
    /// Since it came.
    seconds: f64,
    /// Read from the store so far.
    rows: u64,
    /// Whether its turn has not come yet.
    waiting: bool,
}

/// Answered without waiting for a turn: who asks wants to know why the others do.
pub(super) async fn list(State((queries, limits)): State<(Arc<Queries>, QueryLimits)>) -> Json<QueriesJson> {
    let running = queries.running().into_iter().map(|(id, running)| RunningJson {
        id,
        seconds: running.watch.elapsed().as_secs_f64(),
        rows: running.watch.rows(),
        waiting: !running.begun,
        question: running.question,
    });
    let QueryLimits { concurrent, waiting, time, .. } = limits;
    Json(QueriesJson { concurrent, waiting, limit_seconds: time.as_secs_f64(), running: running.collect() })
}
