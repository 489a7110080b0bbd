//! `GET /api/v1/diff`.

use super::QueryState;
use super::answer::{Answer, Body};
use super::error::ApiError;
use super::params::Params;
use crate::query::diff::{Diff, Normalization, gather};
use crate::render::{DiffSide, diff_json};
use crate::store::Selection;
use crate::watch;

/// Nodes of the tree unless asked otherwise: twice what half a screen's pixels show.
const DEFAULT_NODES: usize = 20_000;
/// Functions of the table unless asked otherwise.
const DEFAULT_FUNCTIONS: usize = 2_000;

pub(super) fn answer(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let profile_type = params.text("type").unwrap_or_else(|| "cpu".into());
    let a = side(&mut params, &profile_type, ["query_a", "from_a", "to_a"])?;
    let b = side(&mut params, &profile_type, ["query_b", "from_b", "to_b"])?;
    let normalization = normalization(&mut params)?;
    let nodes = params.value("max_nodes", "a whole number of nodes from 1 to 1000000", |nodes| (1..=1_000_000).contains(nodes))?;
    let limit = params.value("limit", "a whole number of functions, 0 for all", |_| true)?.unwrap_or(DEFAULT_FUNCTIONS);
    let closed = params.finish()?;
    let profiles = [gather(&*state.store, &a)?, gather(&*state.store, &b)?];
    watch::check()?;
    let diff = Diff::of(&profile_type, profiles, normalization, &*state.symbols, nodes.unwrap_or(DEFAULT_NODES));
    let queries = [&a, &b].map(|selection| selection.selector.to_string());
    let sides = [DiffSide { window: a.window, query: &queries[0] }, DiffSide { window: b.window, query: &queries[1] }];
    let limit = if limit == 0 { usize::MAX } else { limit };
    Ok(Answer { body: Body::Json(diff_json(&diff, &profile_type, sides, limit)?), closed })
}

fn side(params: &mut Params, profile_type: &str, [query, from, to]: [&'static str; 3]) -> Result<Selection, ApiError> {
    let window = params.window_of(from, to)?;
    let selector = params.text(query).unwrap_or_default().parse()?;
    Ok(Selection { window, profile_type: profile_type.to_owned(), selector })
}

fn normalization(params: &mut Params) -> Result<Normalization, ApiError> {
    match params.text("by").as_deref() {
        None | Some("cores") => Ok(Normalization::Cores),
        Some("share") => Ok(Normalization::Share),
        Some("samples") => Ok(Normalization::Samples),
        Some(other) => Err(ApiError::Parameter(format!("by is {other:?}; it must be cores, share or samples"))),
    }
}
