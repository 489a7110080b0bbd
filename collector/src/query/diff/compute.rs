//! From two sides to a [`Diff`].

use std::collections::BTreeMap;

use flamekeeper_profile::diff::{Cell, Change, Exposures, FunctionCounts, Measure, Side, SideCounts, Statistics, Verdict, changes};
use flamekeeper_profile::{Frame, FrameKind, Merged, SampleType, StackId, Value, Window};
use flamekeeper_symbolizer::Symbolize;

use super::neighbours::renamed;
use super::{Diff, FunctionDiff, Normalization, Shown, SideProfile, SideSummary, place, tree};
use crate::query::top::Function;
use crate::query::{Generics, Profile, SymbolizedProfile};
use crate::store::MergedProfile;

/// All stacks of both sides and their units over shared tables.
struct Pool {
    merged: Merged,
    known: SampleType,
}

type Values = Vec<(StackId, Value)>;

impl Pool {
    fn absorb(&mut self, profile: &Merged) -> Values {
        let remap = self.merged.tables.absorb(&profile.tables);
        let mut values: Values = profile.values().filter_map(|(stack, value)| Some((remap.stack(stack)?, value))).collect();
        values.sort_unstable_by_key(|(stack, _)| *stack);
        values.iter().for_each(|(stack, _)| self.merged.add(*stack, &self.known, 1));
        values
    }
}

/// A stack as groups of functions.
#[derive(Clone, Default)]
struct Groups {
    leaf: Option<u32>,
    each: Box<[u32]>,
}

/// What the stacks of one source (a side, or a unit) add up to for each group: own and total, in samples.
struct Sums {
    own: Vec<f64>,
    total: Vec<f64>,
    all: f64,
}

impl Diff {
    /// Names all stacks and compares. `profile_type` is that of both sides; the tree keeps the `most_nodes` widest nodes.
    #[must_use]
    pub fn of(
        profile_type: &str,
        sides: [SideProfile; 2],
        normalization: Normalization,
        symbols: &dyn Symbolize,
        most_nodes: usize,
    ) -> Self {
        let shown = Shown { nodes: most_nodes, generics: Generics::Kept, path: Vec::new() };
        Self::shown(profile_type, sides, normalization, symbols, &shown)
    }

    /// The same, and what of it is made.
    #[must_use]
    pub fn shown(
        profile_type: &str,
        sides: [SideProfile; 2],
        normalization: Normalization,
        symbols: &dyn Symbolize,
        shown: &Shown,
    ) -> Self {
        let mut pool = Pool { merged: Merged::new(), known: SampleType::plain("", "") };
        let values = [0, 1].map(|side: usize| pool.absorb(&sides[side].merged.merged));
        let units: Vec<(Side, &super::Unit, Values)> = Side::BOTH
            .into_iter()
            .flat_map(|side| sides[place(side)].units.iter().map(move |unit| (side, unit)))
            .map(|(side, unit)| (side, unit, pool.absorb(&unit.merged.merged)))
            .collect();
        let unit = sides.iter().map(|side| side.merged.unit.clone()).find(|unit| !unit.is_empty()).unwrap_or_default();
        let named = Profile {
            merged: pool.merged,
            profile_type: profile_type.to_owned(),
            unit: unit.clone(),
            window: Window::new(flamekeeper_profile::Timestamp(0), flamekeeper_profile::Timestamp(0)),
            completeness: flamekeeper_profile::Completeness::default(),
        }
        .symbolize(symbols)
        .with_generics(shown.generics);
        let weight_of_a_sample = sample_weight(&values);
        let (group_of, functions) = named.groups();
        let scale = weight_of_a_sample.unwrap_or(1.0);
        // Weights per exposure in the diff's unit: a share is one already, CPU time becomes cores.
        let factor = match normalization {
            Normalization::Cores => scale * if unit == "nanoseconds" { 1e-9 } else { 1.0 },
            Normalization::Requests(_) => scale,
            Normalization::Share | Normalization::Samples => 1.0,
        };
        let all = values.each_ref().map(|values| number(total(values).weight) / scale);
        let exposures = exposures(normalization, &sides, all);
        let summaries = summaries(&named, &sides, &values, all, exposures, factor);
        let paths = tree_paths(&named, &values, &shown.path);
        let diff = Self {
            normalization,
            unit,
            sides: summaries,
            tree: tree::merge(frames(&named), paths, shown.nodes),
            functions: Vec::new(),
            statistics: Statistics::NONE,
            smallest: None,
            notes: Vec::new(),
        };
        if !shown.path.is_empty() {
            return diff;
        }
        let (group_of, moved) = unified(group_of, &functions, &named, &values);
        let stacks = stack_groups(&named, &group_of);
        let sums = values.each_ref().map(|values| Sums::of(values, &stacks, functions.len(), scale));
        let unit_sums: Vec<Sums> = units.iter().map(|(_, _, values)| Sums::of(values, &stacks, functions.len(), scale)).collect();
        let cells = cells(normalization, &units, &unit_sums, &sides);
        let counts = function_counts(functions.len(), &sums, &unit_sums);
        let (mut changes, mut statistics) = changes(&cells, exposures, &counts);
        if weight_of_a_sample.is_none() {
            forget(&mut changes, &mut statistics);
        }
        let found = Found { functions, changes, counts, exposures, factor, moved, exact: weight_of_a_sample.is_some() };
        Self {
            smallest: found.smallest(all[0]),
            notes: notes(&sides, &values, &cells, normalization, &diff.unit),
            functions: found.table(),
            statistics,
            ..diff
        }
    }
}

/// What a sample weighs: on the side where it weighs more, so that neither side is taken to have more samples than it has. None where the
/// type counts no samples.
fn sample_weight(values: &[Values; 2]) -> Option<f64> {
    let of = |values: &Values| {
        let sum = total(values);
        (sum.samples > 0).then(|| number(sum.weight) / number(sum.samples))
    };
    values.iter().filter_map(of).reduce(f64::max)
}

fn total(values: &Values) -> Value {
    values.iter().fold(Value::default(), |sum, (_, value)| Value {
        weight: sum.weight.saturating_add(value.weight),
        samples: sum.samples.saturating_add(value.samples),
    })
}

#[allow(clippy::cast_precision_loss)] // Statistics need no 16 digits.
const fn number(value: u64) -> f64 {
    value as f64
}

/// The groups of every stack, by its place in the tables.
fn stack_groups(named: &SymbolizedProfile, group_of: &[usize]) -> Vec<Groups> {
    let mut stacks = vec![Groups::default(); named.tables.stacks().len()];
    let group = |function: &u32| u32::try_from(group_of[*function as usize]).unwrap_or(u32::MAX);
    for (id, _) in &named.stacks {
        let (locations, _) = named.stack(*id);
        let mut each: Vec<u32> = locations.iter().flat_map(|location| named.names.location_functions(*location)).map(group).collect();
        let leaf = each.first().copied();
        each.sort_unstable();
        each.dedup();
        stacks[id.index()] = Groups { leaf, each: each.into() };
    }
    stacks
}

impl Sums {
    fn of(values: &Values, stacks: &[Groups], groups: usize, scale: f64) -> Self {
        let mut sums = Self { own: vec![0.0; groups], total: vec![0.0; groups], all: 0.0 };
        for (stack, value) in values {
            let samples = number(value.weight) / scale;
            let groups = &stacks[stack.index()];
            sums.all += samples;
            if let Some(leaf) = groups.leaf {
                sums.own[leaf as usize] += samples;
            }
            groups.each.iter().for_each(|group| sums.total[*group as usize] += samples);
        }
        sums
    }
}

/// `all` are the samples of the sides.
fn exposures(normalization: Normalization, sides: &[SideProfile; 2], all: [f64; 2]) -> Exposures {
    match normalization {
        Normalization::Cores => Exposures { a: sides[0].host_seconds, b: sides[1].host_seconds },
        Normalization::Share => Exposures { a: all[0], b: all[1] },
        Normalization::Samples => Exposures { a: 1.0, b: 1.0 },
        Normalization::Requests([a, b]) => Exposures { a: number(a.get()), b: number(b.get()) },
    }
}

fn cells(normalization: Normalization, units: &[(Side, &super::Unit, Values)], sums: &[Sums], sides: &[SideProfile; 2]) -> Vec<Cell> {
    let mut hosts: BTreeMap<&str, u32> = BTreeMap::new();
    let cell = |((side, unit, _), sums): (&(Side, &'_ super::Unit, Values), &Sums)| (*side, unit.seconds, sums.all);
    let mut cells = Vec::new();
    for pair in units.iter().zip(sums) {
        let (side, seconds, all) = cell(pair);
        let next = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        let host = *hosts.entry(pair.0.1.host.as_str()).or_insert(next);
        let exposure = match normalization {
            Normalization::Cores => seconds,
            Normalization::Share => all,
            Normalization::Samples => seconds / sides[place(side)].host_seconds.max(1e-9),
            // When each host served how many is not known: evenly, so that an uneven load widens the intervals.
            Normalization::Requests(requests) => number(requests[place(side)].get()) * seconds / sides[place(side)].host_seconds.max(1e-9),
        };
        cells.push(Cell { side, host, exposure });
    }
    cells
}

fn function_counts(groups: usize, sums: &[Sums; 2], units: &[Sums]) -> Vec<FunctionCounts> {
    let of = |group: usize| FunctionCounts {
        own: SideCounts { a: sums[0].own[group], b: sums[1].own[group] },
        total: SideCounts { a: sums[0].total[group], b: sums[1].total[group] },
        own_cells: units.iter().map(|unit| unit.own[group]).collect(),
        total_cells: units.iter().map(|unit| unit.total[group]).collect(),
    };
    (0..groups).map(of).collect()
}

/// Without samples nothing is known of chance.
fn forget(changes: &mut [Change], statistics: &mut Statistics) {
    for change in changes {
        change.verdict = Verdict::Chance;
        change.q = None;
    }
    statistics.flagged = 0;
    statistics.tested = 0;
}

fn summaries(
    named: &SymbolizedProfile,
    sides: &[SideProfile; 2],
    values: &[Values; 2],
    all: [f64; 2],
    exposures: Exposures,
    factor: f64,
) -> [SideSummary; 2] {
    [0, 1].map(|side: usize| {
        let MergedProfile { completeness, .. } = &sides[side].merged;
        let mut counted = named.counted(values[side].iter().copied());
        counted.ledger = completeness.ledger;
        let sum = total(&values[side]);
        let exposure = if side == 0 { exposures.a } else { exposures.b };
        SideSummary {
            host_seconds: sides[side].host_seconds,
            hosts: sides[side].hosts,
            units: sides[side].units.len(),
            samples: sum.samples,
            weight: sum.weight,
            total: if exposure > 0.0 { all[side] / exposure * factor } else { 0.0 },
            requests: None,
            completeness: counted,
        }
    })
}

/// The root's frame, then those of all functions.
fn frames(named: &SymbolizedProfile) -> Vec<Frame> {
    std::iter::once(Frame::marker("")).chain(named.names.functions().cloned()).collect()
}

/// The stacks of both sides that begin with these names, as places in [`frames`].
fn tree_paths(named: &SymbolizedProfile, values: &[Values; 2], path: &[String]) -> Vec<tree::Path> {
    let names: Vec<&str> = named.names.functions().map(|frame| &*frame.name).collect();
    let begins = |stack: &StackId| {
        let mut functions = named.functions_root_first(*stack);
        path.iter().all(|name| functions.next().is_some_and(|function| names[function as usize] == name))
    };
    both(values)
        .into_iter()
        .filter(|(stack, _)| begins(stack))
        .map(|(stack, weights)| (named.functions_root_first(stack).map(|function| function + 1).collect(), weights))
        .collect()
}

fn both(values: &[Values; 2]) -> BTreeMap<StackId, [u64; 2]> {
    let mut stacks: BTreeMap<StackId, [u64; 2]> = BTreeMap::new();
    for (side, values) in values.iter().enumerate() {
        for (stack, value) in values {
            stacks.entry(*stack).or_default()[side] = value.weight;
        }
    }
    stacks
}

/// Functions that have another name on each side stand together in the group of the name in B: so a new name alone is no change, and a
/// change behind it is seen. For each such group the name that it had in A.
fn unified(
    group_of: Vec<usize>,
    functions: &[Function],
    named: &SymbolizedProfile,
    values: &[Values; 2],
) -> (Vec<usize>, BTreeMap<usize, String>) {
    let mut place: Vec<usize> = (0..functions.len()).collect();
    let mut names = BTreeMap::new();
    for (new, old) in moved(functions, named, &group_of, values) {
        place[old as usize] = new as usize;
        names.insert(new as usize, functions[old as usize].frame.name.to_string());
    }
    (group_of.into_iter().map(|group| place[group]).collect(), names)
}

/// Pairs of a group of B and the one of A that it was.
fn moved(functions: &[Function], named: &SymbolizedProfile, group_of: &[usize], values: &[Values; 2]) -> Vec<(u32, u32)> {
    let path = |stack| -> Box<[u32]> {
        let (locations, _) = named.stack(stack);
        let functions = locations.iter().rev().flat_map(|location| named.names.location_functions(*location).iter().rev());
        functions.map(|function| u32::try_from(group_of[*function as usize]).unwrap_or(u32::MAX)).collect()
    };
    let paths: Vec<tree::Path> = both(values).into_iter().map(|(stack, weights)| (path(stack), weights)).collect();
    let mut on = vec![[false; 2]; functions.len()];
    for (path, weights) in &paths {
        for group in path {
            let on = &mut on[*group as usize];
            *on = [on[0] || weights[0] > 0, on[1] || weights[1] > 0];
        }
    }
    let only: Vec<Option<usize>> = on
        .into_iter()
        .map(|on| match on {
            [true, false] => Some(0),
            [false, true] => Some(1),
            _ => None,
        })
        .collect();
    let names: Vec<&str> = functions.iter().map(|function| &*function.frame.name).collect();
    renamed(&names, &only, &paths)
}

struct Found {
    functions: Vec<Function>,
    changes: Vec<Change>,
    counts: Vec<FunctionCounts>,
    exposures: Exposures,
    factor: f64,
    /// For each group that moved the name that it had in A.
    moved: BTreeMap<usize, String>,
    exact: bool,
}

impl Found {
    /// Of the functions, the one whose own value is nearest to a twentieth of A tells what a function of that size must change by.
    fn smallest(&self, a: f64) -> Option<f64> {
        let aim = a / 20.0;
        let told = self.counts.iter().zip(&self.changes).filter(|(counts, change)| counts.own.a > 0.0 && change.seen.is_finite());
        let nearest = told.min_by(|x, y| (x.0.own.a - aim).abs().total_cmp(&(y.0.own.a - aim).abs()));
        nearest.filter(|_| self.exact).map(|(_, change)| change.seen * self.factor)
    }

    fn table(self) -> Vec<FunctionDiff> {
        let Self { functions, changes, counts, exposures, factor, mut moved, exact } = self;
        let per = |count: f64, exposure: f64| if exposure > 0.0 { count / exposure * factor } else { 0.0 };
        let pair = |counts: SideCounts| [per(counts.a, exposures.a), per(counts.b, exposures.b)];
        let mut table: Vec<FunctionDiff> = Vec::new();
        for (group, ((function, change), counts)) in functions.into_iter().zip(changes).zip(&counts).enumerate() {
            let marker = function.frame.kind == FrameKind::Other && function.frame.name.starts_with('[');
            if marker || counts.total.a + counts.total.b <= 0.0 {
                continue;
            }
            table.push(FunctionDiff {
                frame: function.frame,
                own: pair(counts.own),
                total: pair(counts.total),
                measure: change.measure,
                change: change.estimate.change * factor,
                interval: exact.then_some((change.estimate.low * factor, change.estimate.high * factor)),
                relative: exact.then_some(change.estimate.relative),
                q: change.q,
                verdict: change.verdict,
                moved: moved.remove(&group),
                seen: change.seen * factor,
            });
        }
        table.sort_by(|x, y| {
            let ((group_x, by_x), (group_y, by_y)) = (rank(x), rank(y));
            group_x.cmp(&group_y).then(by_y.total_cmp(&by_x)).then_with(|| x.frame.name.cmp(&y.frame.name))
        });
        table
    }
}

/// A group, the lowest first, and the order in it, the greatest first: self values beyond chance by the size of the change, then totals,
/// then what is within chance. All callers of what changed have changed with it, by as much, and the more else they call the less sure that
/// is: so totals stand by how sure they are.
fn rank(function: &FunctionDiff) -> (u8, f64) {
    let change = function.change.abs();
    match (function.verdict, function.measure) {
        (Verdict::Chance, _) => (2, function.total[0] + function.total[1]),
        (_, Measure::Own) => (0, change),
        (_, Measure::Total) => (1, function.interval.map_or(change, |(low, high)| change / (high - low).max(f64::MIN_POSITIVE))),
    }
}

fn notes(sides: &[SideProfile; 2], values: &[Values; 2], cells: &[Cell], normalization: Normalization, unit: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let totals = values.each_ref().map(total);
    for (name, sum) in ["A", "B"].into_iter().zip(totals) {
        if sum.weight == 0 {
            notes.push(format!("{name} has no samples: nothing can be said of a change."));
        }
    }
    if totals.iter().all(|sum| sum.samples == 0) && totals.iter().any(|sum| sum.weight > 0) {
        notes.push("This type does not count samples, so that no interval can be given.".to_owned());
        return notes;
    }
    if !sides.iter().any(|side| side.files) {
        notes.extend(notes_on_spread(sides.each_ref().map(|side| side.hosts), cells));
    }
    let weights = totals.map(|sum| number(sum.weight) / number(sum.samples.max(1)));
    if totals.iter().all(|sum| sum.samples > 0) && (weights[0] / weights[1]).ln().abs() > 0.1 {
        notes.push("The two sides were sampled at different frequencies.".to_owned());
    }
    if let Normalization::Requests([a, b]) = normalization {
        notes.push(format!("Values are what one of {a} requests takes in A, and one of {b} in B; these counts are taken as exact."));
    }
    if normalization == Normalization::Cores && unit != "nanoseconds" && !unit.is_empty() {
        notes.push(format!("Values are {unit} per second of a host."));
    }
    notes
}

fn notes_on_spread(hosts: [usize; 2], cells: &[Cell]) -> Vec<String> {
    let mut notes = Vec::new();
    if cells.is_empty() {
        notes.push("Nothing is known of the spread between hosts or times: the intervals hold sampling error only.".to_owned());
    } else if hosts[0] <= 1 || hosts[1] <= 1 {
        notes.push(
            "One host on a side: its window was divided into parts, whose spread stands for all; how hosts differ is not known.".to_owned(),
        );
    }
    let measured: std::collections::BTreeSet<u32> = cells.iter().map(|cell| cell.host).collect();
    if !cells.is_empty() && measured.len() < hosts[0].max(hosts[1]) {
        notes.push(format!("The spread was estimated from {} of {} hosts.", measured.len(), hosts[0].max(hosts[1])));
    }
    notes
}
