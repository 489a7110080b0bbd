//! `GET /api/v1/flamegraph`.

use super::answer::{Answer, Body};
use super::error::ApiError;
use super::params::Params;
use super::{QueryState, top};
use crate::render::{self, DEFAULT_MIN_SHARE, pprof};

pub(super) fn answer(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let selection = params.selection()?;
    let generics = params.generics()?;
    let format = Format::read(&mut params)?;
    let path = params.path();
    let closed = params.finish()?;
    let title = format!("{} of {}", selection.profile_type, selected(&selection.selector.to_string()));
    let profile = top::profile(state, selection, generics)?.zoom(&path);
    let body = match format {
        Format::Json { min_share } => Body::Json(render::flamegraph_json(&profile, min_share)?),
        Format::Svg { min_share } => Body::Svg(render::svg(&profile, &title, min_share)?),
        Format::Folded => Body::Text(render::folded(&profile)),
        Format::Pprof => Body::Pprof(pprof::gzipped(&profile), "profile.pb.gz".into()),
    };
    Ok(Answer { body, closed })
}

fn selected(selector: &str) -> &str {
    if selector == "{}" { "everything" } else { selector }
}

enum Format {
    Json { min_share: f64 },
    Svg { min_share: f64 },
    Folded,
    Pprof,
}

impl Format {
    fn read(params: &mut Params) -> Result<Self, ApiError> {
        let given: Option<f64> = params.value("min_share", "a share from 0 to 1, such as 0.001", |share| (0.0..=1.0).contains(share))?;
        let min_share = given.unwrap_or(DEFAULT_MIN_SHARE);
        let format = params.text("format");
        match format.as_deref().unwrap_or("json") {
            "json" => Ok(Self::Json { min_share }),
            "svg" => Ok(Self::Svg { min_share }),
            // These have no place for what was cut, so they hold everything.
            name @ ("folded" | "pprof") if given.is_some() => {
                Err(ApiError::Parameter(format!("format={name} holds every stack; leave min_share out, or ask for json or svg")))
            }
            "folded" => Ok(Self::Folded),
            "pprof" => Ok(Self::Pprof),
            other => Err(ApiError::Parameter(format!("format is {other:?}; it must be json, svg, folded or pprof"))),
        }
    }
}
