//! `GET /api/v1/diff`.

use flamekeeper_profile::diff::Side;

use super::QueryState;
use super::answer::{Answer, Body};
use super::error::ApiError;
use super::params::Params;
use crate::query::diff::{Counted, Diff, Normalization, Shown, SideProfile, counted, gather, gather_whole};
use crate::render::{DiffSide, Report, diff_json};
use crate::store::Selection;
use crate::watch;

/// Nodes of the tree unless asked otherwise: twice what half a screen's pixels show.
const DEFAULT_NODES: usize = 20_000;
/// Functions of each kind in a report as text.
const MOST_TOLD: usize = 50;
/// Functions of the table unless asked otherwise.
const DEFAULT_FUNCTIONS: usize = 2_000;

pub(super) fn answer(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let profile_type = params.text("type").unwrap_or_else(|| "cpu".into());
    let a = side(&mut params, &profile_type, ["query_a", "from_a", "to_a"])?;
    let b = side(&mut params, &profile_type, ["query_b", "from_b", "to_b"])?;
    let by = by(&mut params)?;
    let format = format(&mut params)?;
    let generics = params.generics()?;
    let nodes = params.value("max_nodes", "a whole number of nodes from 1 to 1000000", |nodes| (1..=1_000_000).contains(nodes))?;
    let limit = params.value("limit", "a whole number of functions, 0 for all", |_| true)?.unwrap_or(DEFAULT_FUNCTIONS);
    let path = params.path();
    let closed = params.finish()?;
    if !path.is_empty() && format != Format::Json {
        return Err(ApiError::Parameter("path chooses a part of the tree, which only format=json has; leave one of them out".to_owned()));
    }
    let gather = if path.is_empty() { gather } else { gather_whole };
    let profiles = [gather(&*state.store, &a)?, gather(&*state.store, &b)?];
    watch::check()?;
    let shown = Shown { nodes: nodes.unwrap_or(DEFAULT_NODES), generics, path };
    let (normalization, requests) = by.resolved(state, [&a, &b], &profiles)?;
    let mut diff = Diff::shown(&profile_type, profiles, normalization, &*state.symbols, &shown);
    if let Some(requests) = requests {
        diff.tell_counted(requests);
    }
    let queries = [&a, &b].map(|selection| selection.selector.to_string());
    let sides = [DiffSide { window: a.window, query: &queries[0] }, DiffSide { window: b.window, query: &queries[1] }];
    let limit = if limit == 0 { usize::MAX } else { limit };
    let report = || Report::of(&diff, &profile_type, sides, limit);
    let body = match format {
        Format::Json => Body::Json(diff_json(&diff, &profile_type, sides, limit)?),
        Format::Report => Body::Json(serde_json::to_vec(&report())?),
        Format::Text => Body::Text(report().text(None, limit.min(MOST_TOLD))),
        Format::Markdown => Body::Text(report().markdown(None, limit.min(MOST_TOLD))),
    };
    Ok(Answer { body, closed })
}

/// What is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// The tree and all functions.
    Json,
    /// What changed beyond chance.
    Report,
    /// The same for people.
    Text,
    /// The same for a pull request.
    Markdown,
}

fn format(params: &mut Params) -> Result<Format, ApiError> {
    match params.text("format").as_deref() {
        None | Some("json") => Ok(Format::Json),
        Some("report") => Ok(Format::Report),
        Some("text") => Ok(Format::Text),
        Some("markdown") => Ok(Format::Markdown),
        Some(other) => Err(ApiError::Parameter(format!("format is {other:?}; it must be json, report, text or markdown"))),
    }
}

fn side(params: &mut Params, profile_type: &str, [query, from, to]: [&'static str; 3]) -> Result<Selection, ApiError> {
    let window = params.window_of(from, to)?;
    let selector = params.text(query).unwrap_or_default().parse()?;
    Ok(Selection { window, profile_type: profile_type.to_owned(), selector })
}

/// What values are to be divided by.
#[derive(Clone, Copy)]
enum By {
    /// This.
    Known(Normalization),
    /// The requests that were posted.
    Posted,
}

impl By {
    fn resolved(
        self,
        state: &QueryState,
        selections: [&Selection; 2],
        profiles: &[SideProfile; 2],
    ) -> Result<(Normalization, Option<[Counted; 2]>), ApiError> {
        match self {
            Self::Known(normalization) => Ok((normalization, None)),
            Self::Posted => {
                let [a, b] = selections;
                let requests = [counted(&*state.store, a, &profiles[0], Side::A)?, counted(&*state.store, b, &profiles[1], Side::B)?];
                Ok((Normalization::Requests(requests.map(|counted| counted.count)), Some(requests)))
            }
        }
    }
}

fn by(params: &mut Params) -> Result<By, ApiError> {
    let counted = "a whole number of requests greater than 0";
    let requests = [params.value("requests_a", counted, |_| true)?, params.value("requests_b", counted, |_| true)?];
    let by = params.text("by");
    match (by.as_deref(), requests) {
        (Some("requests"), [Some(a), Some(b)]) => Ok(By::Known(Normalization::Requests([a, b]))),
        (Some("requests"), [None, None]) => Ok(By::Posted),
        (Some("requests"), _) => Err(ApiError::Parameter(format!(
            "by=requests takes requests_a and requests_b, each {counted}, or neither: then what was posted counts"
        ))),
        (_, [Some(_), _] | [_, Some(_)]) => Err(ApiError::Parameter("requests_a and requests_b go with by=requests".to_owned())),
        (None | Some("cores"), _) => Ok(By::Known(Normalization::Cores)),
        (Some("share"), _) => Ok(By::Known(Normalization::Share)),
        (Some("samples"), _) => Ok(By::Known(Normalization::Samples)),
        (Some(other), _) => Err(ApiError::Parameter(format!("by is {other:?}; it must be cores, share, samples or requests"))),
    }
}
