//! Answering questions from rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use flamekeeper_profile::{Completeness, Labels, Merged, SampleType, Timestamp, Window, label};

use super::append::text_content;
use super::codec::Reader;
use super::keyspaces::Keyspaces;
use super::records::{decode_type, read_labels, read_ledger};
use super::resolve::Resolver;
use super::row::{self, RowHeader, RowKey};
use super::{corrupt, engine};
use crate::selector::Selector;
use crate::store::{HostSummary, MergedProfile, Selection, SeriesSummary, StoreError, TimeSeries};

/// A row as it is scanned; its stacks are still to be read.
struct Row<'a> {
    key: RowKey,
    sample_type: &'a SampleType,
    labels: &'a Labels,
    header: RowHeader,
    stacks: Reader<'a>,
}

/// Series that were looked at, by number: their labels, or none where the selector refuses them.
type SeriesCache = HashMap<u32, Option<Labels>>;

/// Hands out the rows of a window whose type and labels are wanted.
fn scan(
    keyspaces: &Keyspaces,
    window: Window,
    selector: &Selector,
    wanted: impl Fn(&SampleType) -> bool,
    mut visit: impl FnMut(Row<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    if window.duration() == 0 {
        return Ok(());
    }
    let types = sample_types(keyspaces)?;
    let mut series = SeriesCache::new();
    for service in services(keyspaces, selector)? {
        for (number, sample_type) in types.iter().filter(|(_, sample_type)| wanted(sample_type)) {
            let range = RowKey::first(service, *number, window.from)..RowKey::first(service, *number, window.to);
            for entry in keyspaces.rows.range(range) {
                let (key, value) = entry.into_inner().map_err(engine("read rows"))?;
                let key = RowKey::decode(&key).map_err(corrupt("row key"))?;
                let Some(labels) = labels(keyspaces, &mut series, key.series, selector)? else { continue };
                let mut stacks = Reader::new(&value);
                let header = row::decode_header(&mut stacks).map_err(corrupt("row"))?;
                visit(Row { key, sample_type, labels, header, stacks })?;
            }
        }
    }
    Ok(())
}

fn services(keyspaces: &Keyspaces, selector: &Selector) -> Result<Vec<u32>, StoreError> {
    match selector.exact(label::SERVICE) {
        Some(name) => Ok(keyspaces.services.number(&[], &text_content(name))?.into_iter().collect()),
        None => keyspaces.services.entries(&[]).map(|entry| Ok(entry?.0)).collect(),
    }
}

fn sample_types(keyspaces: &Keyspaces) -> Result<Vec<(u32, SampleType)>, StoreError> {
    let read = |entry: Result<(u32, fjall::Slice), StoreError>| {
        let (number, content) = entry?;
        Ok((number, decode_type(&content).map_err(corrupt("sample type"))?))
    };
    keyspaces.types.entries(&[]).map(read).collect()
}

fn labels<'a>(
    keyspaces: &Keyspaces,
    cache: &'a mut SeriesCache,
    number: u32,
    selector: &Selector,
) -> Result<Option<&'a Labels>, StoreError> {
    if let std::collections::hash_map::Entry::Vacant(vacant) = cache.entry(number) {
        let content = keyspaces.series.content(&[], number)?;
        let labels = read_labels(&mut Reader::new(&content)).map_err(corrupt("series"))?;
        vacant.insert(selector.matches(&labels).then_some(labels));
    }
    Ok(cache.get(&number).and_then(Option::as_ref))
}

/// See [`crate::store::Store::merged`].
pub(super) fn merged(keyspaces: &Keyspaces, selection: &Selection, limit: usize) -> Result<MergedProfile, StoreError> {
    let mut sums: HashMap<(u32, u32, u32), u64, foldhash::fast::RandomState> = HashMap::default();
    let mut types: HashMap<u32, SampleType> = HashMap::new();
    let mut hosts = Hosts::default();
    scan(
        keyspaces,
        selection.window,
        &selection.selector,
        |t| t.query_name() == selection.profile_type,
        |mut row| {
            hosts.see(row.labels);
            types.entry(row.key.sample_type).or_insert_with(|| row.sample_type.clone());
            let mut add = |stack, value| {
                let sum = sums.entry((row.key.service, row.key.sample_type, stack)).or_default();
                *sum = sum.saturating_add(value);
            };
            row::decode_stacks(&mut row.stacks, &mut add).map_err(corrupt("row"))?;
            if sums.len() > limit { Err(StoreError::TooLarge { limit }) } else { Ok(()) }
        },
    )?;
    let mut resolver = Resolver::new(keyspaces);
    let mut values = Vec::with_capacity(sums.len());
    let mut completeness = Completeness::default();
    let mut sums: Vec<_> = sums.into_iter().collect();
    // In the order of their keys the dictionary's blocks are read once each.
    sums.sort_unstable();
    for ((service, sample_type, stack), value) in sums {
        let (stack, end) = resolver.stack(service, stack)?;
        let sample_type = &types[&sample_type];
        if sample_type.is_periodic() {
            completeness.count(value, end);
        }
        values.push((stack, sample_type, value));
    }
    completeness.ledger = hosts.ledger(keyspaces, selection)?;
    let unit = types.values().next().map_or("", SampleType::query_unit).to_owned();
    let mut merged = Merged::new();
    merged.tables = resolver.tables;
    for (stack, sample_type, value) in values {
        merged.add(stack, sample_type, value);
    }
    Ok(MergedProfile { merged, unit, completeness })
}

/// See [`crate::store::Store::time_series`].
pub(super) fn time_series(keyspaces: &Keyspaces, selection: &Selection, by: &str, step: u64) -> Result<TimeSeries, StoreError> {
    let step = step.max(1);
    let window = selection.window;
    let points = usize::try_from(window.duration().div_ceil(step)).unwrap_or(usize::MAX);
    if points > MAX_POINTS {
        return Err(StoreError::TooManyPoints { points, limit: MAX_POINTS });
    }
    let mut answer = TimeSeries::default();
    let mut hosts = Hosts::default();
    scan(
        keyspaces,
        window,
        &selection.selector,
        |t| t.query_name() == selection.profile_type,
        |row| {
            hosts.see(row.labels);
            row.sample_type.query_unit().clone_into(&mut answer.unit);
            let place = usize::try_from((row.key.from.0 - window.from.0) / step).unwrap_or(usize::MAX);
            let value = row.labels.get(by);
            if !answer.by_value.contains_key(value) {
                let cells = points.saturating_mul(answer.by_value.len() + 1);
                if cells > MAX_CELLS {
                    return Err(StoreError::TooManyPoints { points: cells, limit: MAX_CELLS });
                }
                answer.by_value.insert(value.to_owned(), vec![0; points]);
            }
            if let Some(sum) = answer.by_value.get_mut(value).and_then(|values| values.get_mut(place)) {
                *sum = sum.saturating_add(row.sample_type.weigh(row.header.total));
            }
            if row.sample_type.is_periodic() {
                count_ends(&mut answer.completeness, &row.header);
            }
            Ok(())
        },
    )?;
    answer.completeness.ledger = hosts.ledger(keyspaces, selection)?;
    Ok(answer)
}

/// Points of one series in one answer.
const MAX_POINTS: usize = 100_000;
/// Points of all series of one answer, 8 bytes each.
const MAX_CELLS: usize = 4 << 20;

fn count_ends(completeness: &mut Completeness, header: &RowHeader) {
    let mut rest = header.total;
    for (end, sum) in &header.ends {
        completeness.count(*sum, *end);
        rest = rest.saturating_sub(*sum);
    }
    completeness.count(rest, flamekeeper_profile::StackEnd::Root);
}

/// See [`crate::store::Store::series`].
pub(super) fn series(keyspaces: &Keyspaces, window: Window) -> Result<Vec<SeriesSummary>, StoreError> {
    let mut found: HashMap<(u32, u32), SeriesSummary> = HashMap::new();
    scan(
        keyspaces,
        window,
        &Selector::default(),
        |_| true,
        |row| {
            let summary = found.entry((row.key.series, row.key.sample_type)).or_insert_with(|| SeriesSummary {
                labels: row.labels.clone(),
                sample_type: row.sample_type.clone(),
                weight: 0,
                samples: 0,
                truncated: 0,
            });
            summary.weight = summary.weight.saturating_add(row.sample_type.weigh(row.header.total));
            if row.sample_type.is_periodic() {
                let mut counted = Completeness::default();
                count_ends(&mut counted, &row.header);
                summary.samples = summary.samples.saturating_add(counted.samples);
                summary.truncated = summary.truncated.saturating_add(counted.truncated_total());
            }
            Ok(())
        },
    )?;
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_unstable_by_key(|(key, _)| *key);
    Ok(found.into_iter().map(|(_, summary)| summary).collect())
}

/// See [`crate::store::Store::hosts`].
pub(super) fn hosts(keyspaces: &Keyspaces, window: Window) -> Result<Vec<HostSummary>, StoreError> {
    let mut found: BTreeMap<Labels, HostSummary> = BTreeMap::new();
    ledgers(keyspaces, window, |ledger| {
        let summary = found.entry(ledger.labels.clone()).or_insert_with(|| HostSummary {
            labels: ledger.labels.clone(),
            last_seen: ledger.to,
            ledger: flamekeeper_profile::Ledger::new(),
        });
        summary.last_seen = summary.last_seen.max(ledger.to);
        summary.ledger.add(&ledger.ledger);
    })?;
    Ok(found.into_values().collect())
}

/// The hosts that a selection has samples of.
#[derive(Default)]
struct Hosts(BTreeSet<String>);

impl Hosts {
    fn see(&mut self, labels: &Labels) {
        let host = labels.get(label::HOST);
        if !self.0.contains(host) {
            self.0.insert(host.to_owned());
        }
    }

    /// What these hosts took and lost in the window, and those that the selector itself names: a host may have lost all that it
    /// took.
    fn ledger(&self, keyspaces: &Keyspaces, selection: &Selection) -> Result<flamekeeper_profile::Ledger, StoreError> {
        let mut sum = flamekeeper_profile::Ledger::new();
        ledgers(keyspaces, selection.window, |ledger| {
            if self.0.contains(ledger.labels.get(label::HOST)) || selection.selector.matches(&ledger.labels) {
                sum.add(&ledger.ledger);
            }
        })?;
        Ok(sum)
    }
}

struct LedgerEntry {
    to: Timestamp,
    labels: Labels,
    ledger: flamekeeper_profile::Ledger,
}

fn ledgers(keyspaces: &Keyspaces, window: Window, mut visit: impl FnMut(LedgerEntry)) -> Result<(), StoreError> {
    if window.duration() == 0 {
        return Ok(());
    }
    for entry in keyspaces.ledgers.range(window.from.0.to_be_bytes()..window.to.0.to_be_bytes()) {
        let value = entry.value().map_err(engine("read ledgers"))?;
        let mut reader = Reader::new(&value);
        let mut read = || {
            let to = Timestamp(reader.number()?);
            Ok(LedgerEntry { to, labels: read_labels(&mut reader)?, ledger: read_ledger(&mut reader)? })
        };
        visit(read().map_err(corrupt("ledger"))?);
    }
    Ok(())
}
