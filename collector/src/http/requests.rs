//! `/api/v1/requests`: how many requests services served, posted by whoever counts them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use flamekeeper_profile::requests::Requests;
use flamekeeper_profile::{Timestamp, Window, label};
use flamekeeper_wire::IDEMPOTENCY_KEY;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;

use super::QueryState;
use super::answer::{Answer, Body};
use super::error::ApiError;
use super::params::Params;
use crate::query::time;
use crate::requests::Count;
use crate::store::{Appended, Store};

/// Bytes of a count as it is posted.
const MOST_BYTES: usize = 16 * 1024;
/// Counts that are stored at once; each is some batches.
const AT_ONCE: usize = 8;
/// Counts that may wait for that.
const WAITING: usize = 256;

#[derive(Default, Serialize)]
struct Sum {
    count: u64,
    counted_seconds: f64,
}

/// `GET /api/v1/requests`: what was posted, by service, version and host; the greatest counts first.
pub(super) fn list(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let service = params.text("service");
    let window = params.window()?;
    params.finish()?;
    let mut sums: BTreeMap<[String; 3], Sum> = BTreeMap::new();
    for series in state.store.series(window)? {
        let Some(of) = Requests::of_type(series.sample_type.query_name()) else { continue };
        let labels = [label::SERVICE, label::VERSION, label::HOST].map(|name| series.labels.get(name).to_owned());
        if service.as_ref().is_some_and(|service| *service != labels[0]) {
            continue;
        }
        let sum = sums.entry(labels).or_default();
        match of {
            Requests::Served => sum.count = sum.count.saturating_add(series.weight),
            Requests::Counted => sum.counted_seconds += Timestamp(series.weight).as_seconds(),
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| Reverse(sum.count));
    let told = sums.into_iter().map(|([service, version, host], sum)| {
        json!({ "service": service, "version": version, "host": host, "count": sum.count, "counted_seconds": sum.counted_seconds })
    });
    let told: Vec<_> = told.collect();
    // Never closed: counts may come late.
    Ok(Answer { body: Body::Json(serde_json::to_vec(&json!({ "requests": told }))?), closed: false })
}

/// A count as it is posted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    service: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    host: String,
    /// As in questions.
    from: serde_json::Value,
    /// The same; now where absent.
    to: Option<serde_json::Value>,
    count: u64,
}

#[derive(Clone)]
struct PostState {
    store: Arc<dyn Store>,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    waiting: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// `POST /api/v1/requests`.
pub(super) fn post_routes(state: &QueryState) -> Router {
    let (waiting, turns) = (Arc::new(Semaphore::new(WAITING)), Arc::new(Semaphore::new(AT_ONCE)));
    let state = PostState { store: Arc::clone(&state.store), now: Arc::clone(&state.now), waiting, turns };
    Router::new().route("/api/v1/requests", post(add)).layer(DefaultBodyLimit::max(MOST_BYTES)).with_state(state)
}

async fn add(
    State(state): State<PostState>,
    headers: HeaderMap,
    posted: Result<Json<Posted>, axum::extract::rejection::JsonRejection>,
) -> Response {
    let kept = match posted {
        Ok(Json(posted)) => keep(state, headers, posted).await,
        Err(error) => Err(ApiError::Parameter(format!(
            "the count cannot be read: {}; send {{\"service\": \"api\", \"version\": \"1.5\", \"host\": \"\", \"from\": \"-1m\", \"to\": \"now\", \"count\": 1200}} as application/json",
            error.body_text()
        ))),
    };
    match kept {
        Ok((count, appended)) => told(&count, appended),
        Err(error) => error.into_response(),
    }
}

async fn keep(state: PostState, headers: HeaderMap, posted: Posted) -> Result<(Count, Appended), ApiError> {
    let waiting = Arc::clone(&state.waiting).try_acquire_owned().map_err(|_| ApiError::Busy)?;
    let turn = Arc::clone(&state.turns).acquire_owned().await.map_err(|_| ApiError::Internal)?;
    let work = move || {
        let _held = (waiting, turn);
        let now = (state.now)();
        let from = time::stated(&posted.from, now)?;
        let to = posted.to.as_ref().filter(|to| !to.is_null()).map_or(Ok(now), |to| time::stated(to, now))?;
        let Posted { service, version, host, count, .. } = posted;
        let count = Count { service, version, host, window: Window::new(from, to), count };
        count.check(now).map_err(|error| ApiError::Parameter(error.to_string()))?;
        let key = headers.get(IDEMPOTENCY_KEY).map(|key| String::from_utf8_lossy(key.as_bytes()));
        let batches = count.batches(key.as_deref()).map_err(|error| ApiError::Parameter(error.to_string()))?;
        let mut appended = Appended::Duplicate;
        for (id, batch) in batches {
            // One that was cut off is completed by what is new of it.
            if state.store.append(&id, batch)? == Appended::Accepted {
                appended = Appended::Accepted;
            }
        }
        Ok((count, appended))
    };
    // Once begun it is finished, even where the sender has left.
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(ApiError::Internal))
}

fn told(count: &Count, appended: Appended) -> Response {
    let Count { service, version, host, window, count } = count;
    let (status, result) = match appended {
        Appended::Accepted => (StatusCode::CREATED, "accepted"),
        Appended::Duplicate => (StatusCode::OK, "duplicate"),
    };
    let body = json!({
        "service": service, "version": version, "host": host, "from": window.from.as_seconds(), "to": window.to.as_seconds(),
        "count": count, "result": result,
    });
    (status, Json(body)).into_response()
}
