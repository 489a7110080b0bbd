//! Answering questions from rows.

use std::collections::{BTreeMap, HashMap};

use flamekeeper_profile::{Completeness, Labels, SampleType, Window};

use super::corrupt;
use super::hosts::Hosts;
use super::lexicon::Lexicon;
use super::part::{Part, Question, Row};
use super::resolve::Resolver;
use super::row::{self, RowHeader};
use super::sums::Sums;
use super::tier::Slot;
use super::view::View;
use super::words::Words;
use crate::selector::Selector;
use crate::store::{MAX_CELLS, MAX_POINTS, MergedProfile, Selection, SeriesSummary, StoreError, TimeSeries};

/// See [`crate::store::Store::merged`].
pub(super) fn merged(view: &View, lexicon: &Lexicon, selection: &Selection, limit: usize) -> Result<MergedProfile, StoreError> {
    let question = Question::new(selection.window, &selection.selector, None, None);
    let mut answer = MergedProfile::default();
    let mut hosts = Hosts::default();
    let mut distinct = 0;
    for part in Part::all(view, question) {
        let mut part = part?;
        hosts.next_part();
        let words = part.words.clone();
        let mut found = Vec::new();
        for (service, number, sample_type) in part.subjects(|t| t.query_name() == selection.profile_type)? {
            let mut sums = Sums::default();
            part.rows(service, number, |mut row| {
                hosts.see(&row, &words)?;
                row::decode_stacks(&mut row.stacks, |stack, value| sums.add(stack, value)).map_err(corrupt("row"))?;
                if distinct + sums.len() > limit { Err(StoreError::TooLarge { limit }) } else { Ok(()) }
            })?;
            distinct += sums.len();
            found.push((service, sample_type, sums.drain()));
        }
        resolve((part.slot, &words), (view, lexicon), &found, &mut answer)?;
    }
    answer.completeness.ledger = hosts.ledger(view, question)?;
    Ok(answer)
}

/// The sums of a service and type, by the stack's number.
pub(super) type Found = (u32, SampleType, Vec<(u32, u64)>);

/// Adds sums by number to the answer, as what the numbers stand for.
pub(super) fn resolve(
    part: (Slot, &Words),
    (view, lexicon): (&View, &Lexicon),
    found: &[Found],
    answer: &mut MergedProfile,
) -> Result<(), StoreError> {
    let MergedProfile { merged, unit, completeness } = answer;
    let mut stacks = Vec::new();
    let mut resolver = Resolver::new(part, lexicon, &view.ticker, &mut merged.tables);
    for (service, sample_type, sums) in found.iter().filter(|(_, _, sums)| !sums.is_empty()) {
        sample_type.query_unit().clone_into(unit);
        let numbers: Vec<u32> = sums.iter().map(|(stack, _)| *stack).collect();
        let mut values = sums.iter().map(|(_, value)| *value);
        resolver.stacks(*service, &numbers, |stack, end| {
            let value = values.next().unwrap_or_default();
            if sample_type.is_periodic() {
                completeness.count(value, end);
            }
            stacks.push(stack);
        })?;
    }
    let mut stacks = stacks.into_iter();
    for (_, sample_type, sums) in found {
        for ((_, value), stack) in sums.iter().zip(&mut stacks) {
            merged.add(stack, sample_type, *value);
        }
    }
    Ok(())
}

/// See [`crate::store::Store::time_series`].
pub(super) fn time_series(view: &View, selection: &Selection, by: &str, step: u64) -> Result<TimeSeries, StoreError> {
    let step = step.max(1);
    let window = selection.window;
    let points = usize::try_from(window.duration().div_ceil(step)).unwrap_or(usize::MAX);
    if points > MAX_POINTS {
        return Err(StoreError::TooManyPoints { points, limit: MAX_POINTS });
    }
    let question = Question::new(window, &selection.selector, Some(by), Some(step));
    let mut answer = TimeSeries::default();
    let mut hosts = Hosts::default();
    for part in Part::all(view, question) {
        let mut part = part?;
        hosts.next_part();
        let words = part.words.clone();
        for (service, number, sample_type) in part.subjects(|t| t.query_name() == selection.profile_type)? {
            part.rows(service, number, |row| {
                hosts.see(&row, &words)?;
                let place = usize::try_from((row.key.from.0 - window.from.0) / step).unwrap_or(usize::MAX);
                add_point(&mut answer, &row, row.labels.get(by), (place, points), &sample_type)
            })?;
        }
    }
    answer.completeness.ledger = hosts.ledger(view, question)?;
    Ok(answer)
}

/// Adds a row to its step.
fn add_point(
    answer: &mut TimeSeries,
    row: &Row<'_>,
    value: &str,
    (place, points): (usize, usize),
    sample_type: &SampleType,
) -> Result<(), StoreError> {
    sample_type.query_unit().clone_into(&mut answer.unit);
    if !answer.by_value.contains_key(value) {
        let cells = points.saturating_mul(answer.by_value.len() + 1);
        if cells > MAX_CELLS {
            return Err(StoreError::TooManyPoints { points: cells, limit: MAX_CELLS });
        }
        answer.by_value.insert(value.to_owned(), vec![0; points]);
    }
    if let Some(sum) = answer.by_value.get_mut(value).and_then(|values| values.get_mut(place)) {
        *sum = sum.saturating_add(sample_type.weigh(row.header.total));
    }
    if sample_type.is_periodic() {
        count_ends(&mut answer.completeness, &row.header);
    }
    Ok(())
}

fn count_ends(completeness: &mut Completeness, header: &RowHeader) {
    let mut rest = header.total;
    for (end, sum) in &header.ends {
        completeness.count(*sum, *end);
        rest = rest.saturating_sub(*sum);
    }
    completeness.count(rest, flamekeeper_profile::StackEnd::Root);
}

/// See [`crate::store::Store::series`].
pub(super) fn series(view: &View, window: Window) -> Result<Vec<SeriesSummary>, StoreError> {
    let mut found: BTreeMap<(Labels, SampleType), SeriesSummary> = BTreeMap::new();
    let question = Question { window, selector: &Selector::default(), merged: false, step: None };
    for part in Part::all(view, question) {
        let mut part = part?;
        for (service, number, sample_type) in part.subjects(|_| true)? {
            let mut sums: HashMap<u32, SeriesSummary> = HashMap::new();
            part.rows(service, number, |row| {
                let empty =
                    || SeriesSummary { labels: row.labels.clone(), sample_type: sample_type.clone(), weight: 0, samples: 0, truncated: 0 };
                add_row(sums.entry(row.key.series).or_insert_with(empty), &row.header);
                Ok(())
            })?;
            for summary in sums.into_values() {
                match found.entry((summary.labels.clone(), summary.sample_type.clone())) {
                    std::collections::btree_map::Entry::Vacant(vacant) => drop(vacant.insert(summary)),
                    std::collections::btree_map::Entry::Occupied(mut sum) => {
                        let sum = sum.get_mut();
                        sum.weight = sum.weight.saturating_add(summary.weight);
                        sum.samples = sum.samples.saturating_add(summary.samples);
                        sum.truncated = sum.truncated.saturating_add(summary.truncated);
                    }
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

fn add_row(summary: &mut SeriesSummary, header: &RowHeader) {
    summary.weight = summary.weight.saturating_add(summary.sample_type.weigh(header.total));
    if summary.sample_type.is_periodic() {
        let mut counted = Completeness::default();
        count_ends(&mut counted, header);
        summary.samples = summary.samples.saturating_add(counted.samples);
        summary.truncated = summary.truncated.saturating_add(counted.truncated_total());
    }
}
