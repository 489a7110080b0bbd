//! A diff as a report: what a person, a chat or a gate in CI is told of it.
//!
//! [`Report`] is what stays of a diff without its tree and without the functions that chance explains. It is the JSON that
//! `format=report` answers, that the webhook posts and that `flamekeeper diff` reads, and it is written as [`Report::text`] and
//! [`Report::markdown`].

#[cfg(test)]
mod example;
mod gate;
mod markdown;
mod show;
mod text;

use flamekeeper_profile::diff::{Measure, Verdict};
use serde::{Deserialize, Serialize};

use super::diff::{DiffSide, smallest_change_seen, verdict};
use crate::query::diff::{Counted, Diff, FunctionDiff, SideSummary};

pub use gate::{Gate, GateResult, Outcome};
pub use show::utc;

/// The part of A that the function takes whose smallest visible change is told.
const TOLD_OF: f64 = 0.05;

/// A report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Profile type.
    #[serde(rename = "type")]
    pub profile_type: String,
    /// What values are in: `cores`, `share`, `samples`, or `request`: the weight unit for each request.
    pub unit: String,
    /// The unit of the type itself: `nanoseconds`.
    pub weight_unit: String,
    /// Before.
    pub a: ReportSide,
    /// After.
    pub b: ReportSide,
    /// How the sides were chosen; empty where somebody named them.
    #[serde(default)]
    pub why: String,
    /// Functions that take more, beyond chance: those whose own code does, then those that call what does; of each the greatest change first.
    pub regressions: Vec<ReportFunction>,
    /// Functions that take less.
    pub improvements: Vec<ReportFunction>,
    /// Functions that have another name, and take what they took.
    pub moved: Vec<ReportFunction>,
    /// Functions of both sides.
    pub functions_total: usize,
    /// Functions that have enough samples to be looked at.
    pub tested: usize,
    /// Functions whose change is beyond chance; more than are named above where these are very many.
    pub flagged: usize,
    /// The share of these that may be wrong.
    pub fdr: f64,
    /// How much more counts spread than samples alone would.
    pub dispersion: f64,
    /// What would have been seen; none where there are no samples.
    pub smallest: Option<Smallest>,
    /// The same in words.
    pub smallest_change_seen: String,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// A side of a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportSide {
    /// What was selected: a selector, or the names of files.
    pub query: String,
    /// Start of the window in unix seconds; none for files.
    pub from: Option<f64>,
    /// Its end.
    pub to: Option<f64>,
    /// Seconds over all hosts, or of all files; 0 where unknown.
    pub host_seconds: f64,
    /// Hosts, or files.
    pub hosts: usize,
    /// Parts that the spread was estimated from.
    pub windows: usize,
    /// Samples.
    pub samples: u64,
    /// What everything takes, in the report's unit.
    pub total: f64,
    /// How its requests are known; none where they were not asked for, or given.
    #[serde(default)]
    pub requests: Option<Counted>,
    /// Samples that were lost.
    pub lost: u64,
    /// Share of the distinct frames that have no name, 0 to 1.
    pub unnamed_frames: f64,
}

/// A function of a report. Values are in the report's unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportFunction {
    /// Name.
    pub name: String,
    /// Module.
    pub module: String,
    /// What runs it: `native`, `kernel`, `python`.
    pub kind: String,
    /// `self` or `total`: what the change is of.
    pub of: String,
    /// In A.
    pub a: f64,
    /// In B.
    pub b: f64,
    /// The change.
    pub change: f64,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// The change as a part of A; none where A has nothing.
    pub relative: Option<f64>,
    /// Lower end of its 95 % interval, the error of A included.
    pub relative_low: Option<f64>,
    /// Upper end; none where there is none.
    pub relative_high: Option<f64>,
    /// The p-value, adjusted for all functions.
    pub q: Option<f64>,
    /// `grew`, `shrank`, `new`, `gone` or `moved`.
    pub verdict: String,
    /// The name that it had in A, where that was another.
    pub moved_from: Option<String>,
}

/// The change of a function that takes a twentieth of A that is seen 80 times of 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Smallest {
    /// In the report's unit.
    pub change: f64,
    /// As a part of the function.
    pub relative: f64,
}

impl Report {
    /// What is told of a diff, with at most so many functions of each kind.
    #[must_use]
    pub fn of(diff: &Diff, profile_type: &str, sides: [DiffSide<'_>; 2], most: usize) -> Self {
        let [a, b] = [0, 1].map(|place: usize| side(&diff.sides[place], sides[place]));
        let pick = |fits: fn(&FunctionDiff) -> bool| -> Vec<ReportFunction> {
            let (own, total): (Vec<_>, Vec<_>) =
                diff.functions.iter().filter(|found| fits(found)).partition(|found| found.measure == Measure::Own);
            own.into_iter().chain(total).take(most).map(function).collect()
        };
        let elsewhere = diff.functions.iter().filter(|found| found.moved.as_deref() == Some(&*found.frame.name)).count();
        let elsewhere = (elsewhere > 0).then(|| {
            let (stand, s) = if elsewhere == 1 { ("stands", "") } else { ("stand", "s") };
            format!("{elsewhere} function{s} {stand} in another module than before: compared by name.")
        });
        let size = diff.sides[0].total * TOLD_OF;
        let smallest = diff.smallest.filter(|_| size > 0.0).map(|change| Smallest { change, relative: change / size });
        Self {
            profile_type: profile_type.to_owned(),
            unit: diff.normalization.unit().to_owned(),
            weight_unit: diff.unit.clone(),
            a,
            b,
            why: String::new(),
            regressions: pick(|found| matches!(found.verdict, Verdict::Grew | Verdict::New)),
            improvements: pick(|found| matches!(found.verdict, Verdict::Shrank | Verdict::Gone)),
            // What has too few samples to be tested is matched with a namesake of chance too easily.
            moved: pick(|found| found.verdict == Verdict::Chance && found.q.is_some() && has_new_name(found)),
            functions_total: diff.functions.len(),
            tested: diff.statistics.tested,
            flagged: diff.statistics.flagged,
            fdr: diff.statistics.fdr,
            dispersion: diff.statistics.dispersion,
            smallest,
            smallest_change_seen: smallest_change_seen(diff),
            notes: diff.notes.iter().cloned().chain(elsewhere).collect(),
        }
    }
}

fn has_new_name(found: &FunctionDiff) -> bool {
    found.moved.as_deref().is_some_and(|old| old != &*found.frame.name)
}

fn side(summary: &SideSummary, side: DiffSide<'_>) -> ReportSide {
    let frames = summary.completeness.frames.max(1);
    let seconds = |at: flamekeeper_profile::Timestamp| Some(at.as_seconds()).filter(|_| side.window.duration() > 0);
    ReportSide {
        query: side.query.to_owned(),
        from: seconds(side.window.from),
        to: seconds(side.window.to),
        host_seconds: summary.host_seconds,
        hosts: summary.hosts,
        windows: summary.units,
        samples: summary.samples,
        total: summary.total,
        requests: summary.requests,
        lost: summary.completeness.ledger.lost_total(),
        #[allow(clippy::cast_precision_loss)] // Frames are far fewer than 2^53.
        unnamed_frames: summary.completeness.frames_unnamed as f64 / frames as f64,
    }
}

fn function(found: &FunctionDiff) -> ReportFunction {
    let (of, [a, b]) = match found.measure {
        Measure::Own => ("self", found.own),
        Measure::Total => ("total", found.total),
    };
    ReportFunction {
        name: found.frame.name.to_string(),
        module: found.frame.module.to_string(),
        kind: found.frame.kind.as_str().to_owned(),
        of: of.to_owned(),
        a,
        b,
        change: found.change,
        low: found.interval.map(|(low, _)| low),
        high: found.interval.map(|(_, high)| high),
        relative: (a > 0.0).then(|| found.change / a),
        relative_low: found.relative.map(|relative| relative.low),
        relative_high: found.relative.map(|relative| relative.high).filter(|high| high.is_finite()),
        q: found.q,
        verdict: verdict(found).to_owned(),
        moved_from: found.moved.clone(),
    }
}
