//! `/api/v1/deploys`: what was deployed when, marks, and windows to compare.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use flamekeeper_profile::{Timestamp, Window};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::QueryState;
use super::answer::{Answer, Body};
use super::error::ApiError;
use super::params::Params;
use crate::deploys::{Choice, Deploy, DeployKind, Mark, Marks, MarksError, choose, find, sightings};
use crate::query::time;

/// Bytes of a mark as it is posted.
const MOST_BYTES: usize = 16 * 1024;
/// How far a comparison looks back for the versions, where it is not told.
const LOOK_BACK: &str = "-7d";

#[derive(Serialize)]
struct DeployJson {
    service: String,
    version: String,
    previous: String,
    kind: &'static str,
    at: f64,
    first: f64,
    rolled_out: f64,
    last: f64,
    hosts: Vec<HostJson>,
    overlaps: bool,
    text: String,
}

#[derive(Serialize)]
struct HostJson {
    host: String,
    first: f64,
    last: f64,
}

impl From<Deploy> for DeployJson {
    fn from(deploy: Deploy) -> Self {
        let hosts = deploy.hosts.into_iter();
        Self {
            service: deploy.service,
            version: deploy.version,
            previous: deploy.previous,
            kind: match deploy.kind {
                DeployKind::Deploy => "deploy",
                DeployKind::Rollback => "rollback",
                DeployKind::Mark => "mark",
            },
            at: deploy.at.as_seconds(),
            first: deploy.first.as_seconds(),
            rolled_out: deploy.rolled_out.as_seconds(),
            last: deploy.last.as_seconds(),
            hosts: hosts.map(|span| HostJson { host: span.host, first: span.first.as_seconds(), last: span.last.as_seconds() }).collect(),
            overlaps: deploy.overlaps,
            text: deploy.text,
        }
    }
}

/// `GET /api/v1/deploys`.
pub(super) fn list(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let service = params.text("service").unwrap_or_default();
    let window = params.window()?;
    params.finish()?;
    let seen = sightings(&*state.store, window, &service)?;
    let deploys: Vec<DeployJson> = find(&seen, &state.marks.of(&service), window).into_iter().map(DeployJson::from).collect();
    // Never closed: a mark may come at any time.
    Ok(Answer { body: Body::Json(serde_json::to_vec(&json!({ "deploys": deploys }))?), closed: false })
}

/// `GET /api/v1/deploys/compare`.
pub(super) fn compare(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let service = params.text("service").ok_or_else(|| ApiError::Parameter("service is missing: name one".to_owned()))?;
    let to_version = params.text("to_version").or(params.text("version"));
    let from_version = params.text("from_version");
    let from = params.text("from").unwrap_or_else(|| LOOK_BACK.into());
    let to = params.text("to").unwrap_or_else(|| "now".into());
    let window = time::window(&from, &to, (state.now)())?;
    params.finish()?;
    let seen = sightings(&*state.store, window, &service)?;
    let deploys = find(&seen, &[], window);
    let (from_version, to_version) = versions(&deploys, &service, from_version, to_version)?;
    let choice = choose(&seen, &from_version, &to_version).ok_or_else(|| {
        let message = format!("{service} was not seen with both versions {from_version} and {to_version} from {from} to {to}");
        ApiError::NotFound(message)
    })?;
    let body = comparison(&service, &from_version, &to_version, &choice);
    Ok(Answer { body: Body::Json(serde_json::to_vec(&body)?), closed: false })
}

/// The versions that are asked for; by default the last deploy's, and the one that was before it.
fn versions(deploys: &[Deploy], service: &str, from: Option<String>, to: Option<String>) -> Result<(String, String), ApiError> {
    let newest = deploys.iter().rev().find(|deploy| to.as_ref().is_none_or(|to| deploy.version == *to));
    let absent = || ApiError::NotFound(format!("no deploy of {service} was seen; name from_version and to_version, or an earlier from"));
    match (from, to, newest) {
        (Some(from), Some(to), _) => Ok((from, to)),
        (from, _, Some(deploy)) => Ok((from.unwrap_or_else(|| deploy.previous.clone()), deploy.version.clone())),
        (_, _, None) => Err(absent()),
    }
}

fn comparison(service: &str, from_version: &str, to_version: &str, choice: &Choice) -> serde_json::Value {
    let side = |version: &str, window: Window| {
        let query = crate::selector::Selector::default().with_equal("service", service).with_equal("version", version).to_string();
        json!({ "version": version, "query": query, "from": window.from.as_seconds(), "to": window.to.as_seconds() })
    };
    json!({ "service": service, "a": side(from_version, choice.a), "b": side(to_version, choice.b), "why": choice.why.join("; ") })
}

/// A mark as it is posted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    service: String,
    #[serde(default)]
    version: String,
    /// As in `from` and `to`; now where absent.
    at: Option<serde_json::Value>,
    #[serde(default)]
    text: String,
}

#[derive(Clone)]
struct MarkState {
    marks: Arc<Marks>,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// `POST /api/v1/deploys`.
pub(super) fn mark_routes(state: &QueryState) -> Router {
    let state = MarkState { marks: Arc::clone(&state.marks), now: Arc::clone(&state.now) };
    Router::new().route("/api/v1/deploys", post(add)).layer(DefaultBodyLimit::max(MOST_BYTES)).with_state(state)
}

async fn add(State(state): State<MarkState>, posted: Result<Json<Posted>, axum::extract::rejection::JsonRejection>) -> Response {
    let stored = match posted {
        Ok(Json(posted)) => tokio::task::spawn_blocking(move || store(&state, posted)).await.unwrap_or(Err(ApiError::Internal)),
        Err(error) => Err(ApiError::Parameter(format!(
            "the mark cannot be read: {}; send {{\"service\": \"api\", \"version\": \"1.5\", \"at\": \"now\", \"text\": \"\"}} as application/json",
            error.body_text()
        ))),
    };
    match stored {
        Ok(mark) => {
            let body = json!({ "service": mark.service, "version": mark.version, "at": mark.at.as_seconds(), "text": mark.text });
            (StatusCode::CREATED, Json(body)).into_response()
        }
        Err(error) => error.into_response(),
    }
}

fn store(state: &MarkState, posted: Posted) -> Result<Mark, ApiError> {
    let now = (state.now)();
    let at = posted.at.filter(|at| !at.is_null()).map_or(Ok(now), |at| time::stated(&at, now))?;
    let mark = Mark { service: posted.service, version: posted.version, at, text: posted.text };
    match state.marks.add(mark.clone()) {
        Ok(()) => Ok(mark),
        Err(error @ (MarksError::TooLong { .. } | MarksError::NoService)) => Err(ApiError::Parameter(error.to_string())),
        Err(error) => Err(ApiError::Marks(error)),
    }
}
