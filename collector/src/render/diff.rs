//! A diff as JSON (`docs/http-api.md`).

use flamekeeper_profile::diff::{Measure, Verdict};
use flamekeeper_profile::{Frame, Window};
use serde::Serialize;

use super::completeness::CompletenessJson;
use crate::query::diff::{Counted, Diff, FunctionDiff, SideSummary};

#[derive(Serialize)]
struct DiffJson<'a> {
    #[serde(rename = "type")]
    profile_type: &'a str,
    unit: &'static str,
    weight_unit: &'a str,
    a: SideJson<'a>,
    b: SideJson<'a>,
    names: Vec<&'a str>,
    modules: Vec<&'a str>,
    kinds: Vec<String>,
    tree: TreeJson,
    functions_total: usize,
    functions: Vec<FunctionJson<'a>>,
    statistics: StatisticsJson,
    completeness: BothJson,
    notes: &'a [String],
}

#[derive(Serialize)]
struct SideJson<'a> {
    from: f64,
    to: f64,
    query: &'a str,
    host_seconds: f64,
    hosts: usize,
    windows: usize,
    samples: u64,
    weight: u64,
    total: f64,
    /// How its requests are known; null where they were not asked for, or given.
    requests: Option<Counted>,
}

/// One element for each node, in preorder; `name` is a place in `names`, `modules` and `kinds`.
#[derive(Default, Serialize)]
struct TreeJson {
    depth: Vec<u32>,
    name: Vec<u32>,
    a: Vec<u64>,
    b: Vec<u64>,
    cut_a: Vec<u64>,
    cut_b: Vec<u64>,
}

#[derive(Serialize)]
struct FunctionJson<'a> {
    name: &'a str,
    module: &'a str,
    kind: &'static str,
    self_a: f64,
    self_b: f64,
    total_a: f64,
    total_b: f64,
    of: &'static str,
    change: f64,
    low: Option<f64>,
    high: Option<f64>,
    relative_low: Option<f64>,
    relative_high: Option<f64>,
    q: Option<f64>,
    verdict: &'static str,
    moved_from: Option<&'a str>,
    seen: Option<f64>,
}

#[derive(Serialize)]
struct StatisticsJson {
    dispersion: f64,
    fdr: f64,
    flagged: usize,
    tested: usize,
    smallest_change: Option<f64>,
    smallest_change_seen: String,
}

#[derive(Serialize)]
struct BothJson {
    a: CompletenessJson,
    b: CompletenessJson,
}

/// What a side was asked for.
#[derive(Clone, Copy, Debug)]
pub struct DiffSide<'a> {
    /// Its window.
    pub window: Window,
    /// Its selector.
    pub query: &'a str,
}

/// A diff as JSON, with at most so many functions.
///
/// # Errors
/// None that numbers and text can have; they are passed on as the encoder states them.
pub fn diff_json(diff: &Diff, profile_type: &str, sides: [DiffSide<'_>; 2], functions: usize) -> serde_json::Result<Vec<u8>> {
    let [a, b] = [0, 1].map(|side: usize| side_json(&diff.sides[side], sides[side]));
    // Those that nodes use, in the order of their first use.
    let mut used: Vec<&Frame> = Vec::new();
    let mut places: Vec<Option<u32>> = vec![None; diff.tree.frames.len()];
    let mut tree = TreeJson::default();
    for node in &diff.tree.nodes {
        let place = *places[node.frame as usize].get_or_insert_with(|| {
            used.push(&diff.tree.frames[node.frame as usize]);
            u32::try_from(used.len() - 1).unwrap_or(u32::MAX)
        });
        tree.depth.push(node.depth);
        tree.name.push(place);
        tree.a.push(node.own[0]);
        tree.b.push(node.own[1]);
        tree.cut_a.push(node.cut[0]);
        tree.cut_b.push(node.cut[1]);
    }
    let kind = |(place, frame): (usize, &&Frame)| match (place, frame.inlined) {
        (0, _) => "root".to_owned(),
        (_, true) => format!("{} (inlined)", frame.kind.as_str()),
        (_, false) => frame.kind.as_str().to_owned(),
    };
    serde_json::to_vec(&DiffJson {
        profile_type,
        unit: diff.normalization.unit(),
        weight_unit: &diff.unit,
        a,
        b,
        names: used.iter().map(|frame| &*frame.name).collect(),
        modules: used.iter().map(|frame| &*frame.module).collect(),
        kinds: used.iter().enumerate().map(kind).collect(),
        tree,
        functions_total: diff.functions.len(),
        functions: diff.functions.iter().take(functions).map(function_json).collect(),
        statistics: statistics(diff),
        completeness: BothJson {
            a: CompletenessJson::with_names(&diff.sides[0].completeness),
            b: CompletenessJson::with_names(&diff.sides[1].completeness),
        },
        notes: &diff.notes,
    })
}

fn side_json<'a>(summary: &SideSummary, side: DiffSide<'a>) -> SideJson<'a> {
    SideJson {
        from: side.window.from.as_seconds(),
        to: side.window.to.as_seconds(),
        query: side.query,
        host_seconds: summary.host_seconds,
        hosts: summary.hosts,
        windows: summary.units,
        samples: summary.samples,
        weight: summary.weight,
        total: summary.total,
        requests: summary.requests,
    }
}

fn function_json(function: &FunctionDiff) -> FunctionJson<'_> {
    FunctionJson {
        name: &function.frame.name,
        module: &function.frame.module,
        kind: function.frame.kind.as_str(),
        self_a: function.own[0],
        self_b: function.own[1],
        total_a: function.total[0],
        total_b: function.total[1],
        of: match function.measure {
            Measure::Own => "self",
            Measure::Total => "total",
        },
        change: function.change,
        low: function.interval.map(|(low, _)| low),
        high: function.interval.map(|(_, high)| high),
        relative_low: function.relative.map(|relative| relative.low),
        relative_high: function.relative.map(|relative| relative.high).filter(|high| high.is_finite()),
        q: function.q,
        verdict: verdict(function),
        moved_from: function.moved.as_deref(),
        seen: Some(function.seen).filter(|seen| seen.is_finite()),
    }
}

/// The word for what is said of a function. One that moved may have changed as well, which is then said.
pub(super) fn verdict(function: &FunctionDiff) -> &'static str {
    match function.verdict {
        Verdict::Chance if function.moved.is_some() => "moved",
        Verdict::Grew => "grew",
        Verdict::Shrank => "shrank",
        Verdict::New => "new",
        Verdict::Gone => "gone",
        Verdict::Chance => "chance",
    }
}

/// What change would have been seen, in words.
pub(super) fn smallest_change_seen(diff: &Diff) -> String {
    let told = |smallest: f64| {
        let size = diff.sides[0].total / 20.0;
        let part = if size > 0.0 { 100.0 * smallest / size } else { 0.0 };
        let unit = diff.normalization.unit_text(&diff.unit);
        // As much smaller as the unit in words is larger.
        let smallest = if diff.in_milliseconds() { smallest / 1e6 } else { smallest };
        format!(
            "with these samples a change of {smallest:.4} {unit} is seen 80 % of the time in a function that takes 5 % of A ({part:.0} % of the function)"
        )
    };
    diff.smallest.map_or_else(|| "there are no samples to tell a change by".to_owned(), told)
}

fn statistics(diff: &Diff) -> StatisticsJson {
    StatisticsJson {
        dispersion: diff.statistics.dispersion,
        fdr: diff.statistics.fdr,
        flagged: diff.statistics.flagged,
        tested: diff.statistics.tested,
        smallest_change: diff.smallest,
        smallest_change_seen: smallest_change_seen(diff),
    }
}
