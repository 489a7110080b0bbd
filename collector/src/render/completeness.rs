//! The completeness of an answer, as it stands in every one.

use std::collections::BTreeMap;

use flamekeeper_profile::Completeness;
use serde::Serialize;

/// See "Completeness" in `docs/http-api.md`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompletenessJson {
    samples: u64,
    lost: BTreeMap<&'static str, u64>,
    lost_total: u64,
    caveats: BTreeMap<&'static str, u64>,
    truncated: u64,
    truncated_reasons: BTreeMap<&'static str, u64>,
    unstated: u64,
    #[serde(flatten)]
    names: Option<NamesJson>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct NamesJson {
    unnamed: u64,
    unnamed_reasons: BTreeMap<&'static str, u64>,
    unnamed_frames: f64,
}

impl CompletenessJson {
    /// Of an answer whose stacks were named.
    #[must_use]
    pub fn with_names(completeness: &Completeness) -> Self {
        #[allow(clippy::cast_precision_loss)] // Frames are far fewer than 2^53.
        let share = if completeness.frames == 0 { 0.0 } else { completeness.frames_unnamed as f64 / completeness.frames as f64 };
        let unnamed_reasons = completeness.unnamed_reasons.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        let names = NamesJson { unnamed: completeness.unnamed, unnamed_reasons, unnamed_frames: share };
        Self { names: Some(names), ..Self::without_names(completeness) }
    }

    /// Of an answer that looked at no names, such as a time series: it does not claim that all are known.
    #[must_use]
    pub fn without_names(completeness: &Completeness) -> Self {
        Self {
            samples: completeness.samples,
            lost: completeness.ledger.losses().map(|(reason, count)| (reason.as_str(), count)).collect(),
            lost_total: completeness.ledger.lost_total(),
            caveats: completeness.ledger.caveats().map(|(caveat, count)| (caveat.as_str(), count)).collect(),
            truncated: completeness.truncated_total(),
            truncated_reasons: completeness.truncated.iter().map(|(reason, count)| (reason.as_str(), *count)).collect(),
            unstated: completeness.unstated,
            names: None,
        }
    }
}
