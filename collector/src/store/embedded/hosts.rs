//! Hosts: which ones a selection has samples of, what they took and lost, and what they said of themselves.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use flamekeeper_profile::{Labels, Ledger, Timestamp, Window, label};
use foldhash::fast::RandomState;

use super::codec::Reader;
use super::corrupt;
use super::ledgers::{AgentLedger, RawParts, decode_some, ledger_ordinal, ledger_start};
use super::part::{Part, Question, Row, read_series};
use super::plan::Source;
use super::records::read_labels;
use super::row::Table;
use super::tier::Kind;
use super::view::View;
use super::words::Words;
use crate::selector::Selector;
use crate::store::{HostSummary, MAX_POINTS, StoreError};

/// The hosts that a selection has samples of.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    names: BTreeSet<String>,
    /// Numbers of hosts of the part at hand that were seen already.
    numbers: HashSet<u32, RandomState>,
    /// Numbers of series of one host each, the same.
    series: HashSet<u32, RandomState>,
}

impl Hosts {
    /// To be called before the rows of another part.
    pub(super) fn next_part(&mut self) {
        self.numbers.clear();
        self.series.clear();
    }

    pub(super) fn see(&mut self, row: &Row<'_>, words: &Words) -> Result<(), StoreError> {
        if row.header.hosts.is_empty() && self.series.insert(row.key.series) {
            let host = row.labels.get(label::HOST);
            if !self.names.contains(host) {
                self.names.insert(host.to_owned());
            }
        }
        for number in &row.header.hosts {
            if self.numbers.insert(*number) {
                let content = words.hosts.content(&[], *number)?;
                self.names.insert(Reader::new(&content).text().map_err(corrupt("host"))?.to_owned());
            }
        }
        Ok(())
    }

    /// What these hosts took and lost in the window, and those that the selector itself names: a host may have lost all that it
    /// took.
    pub(super) fn ledger(&self, view: &View, question: Question<'_>) -> Result<Ledger, StoreError> {
        let mut sum = Ledger::new();
        let wanted = |labels: &Labels| self.names.contains(labels.get(label::HOST)) || question.selector.matches(labels);
        ledgers(view, Question { step: None, ..question }, false, wanted, |_, ledger| sum.add(&ledger.ledger))?;
        Ok(sum)
    }
}

/// See [`crate::store::Store::hosts`].
pub(super) fn hosts(view: &View, window: Window) -> Result<Vec<HostSummary>, StoreError> {
    let mut found: BTreeMap<Labels, AgentLedger> = BTreeMap::new();
    // The tier of minutes has no figures.
    let question = Question { window, selector: &Selector::default(), merged: false, step: None };
    ledgers(
        view,
        question,
        true,
        |_| true,
        |labels, ledger| match found.get_mut(labels) {
            Some(sum) => sum.add(ledger),
            None => found.extend([(labels.clone(), ledger.clone())]),
        },
    )?;
    let summary =
        |(labels, sum): (Labels, AgentLedger)| HostSummary { labels, last_seen: sum.to, ledger: sum.ledger, figures: sum.figures };
    Ok(found.into_iter().map(summary).collect())
}

/// See [`crate::store::Store::reported`]. A ledger belongs to the step that its window starts in; those of minutes and hours to the step
/// that holds these.
pub(super) fn reported(view: &View, window: Window, step: u64) -> Result<BTreeMap<String, Vec<bool>>, StoreError> {
    let step = step.max(1);
    let points = usize::try_from(window.duration().div_ceil(step)).unwrap_or(usize::MAX);
    if points > MAX_POINTS {
        return Err(StoreError::TooManyPoints { points, limit: MAX_POINTS });
    }
    let mut found: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    let question = Question { window, selector: &Selector::default(), merged: true, step: Some(step) };
    timed_ledgers(
        view,
        question,
        false,
        |_| true,
        |from, labels, _| {
            let host = labels.get(label::HOST);
            if !found.contains_key(host) {
                found.insert(host.to_owned(), vec![false; points]);
            }
            let place = usize::try_from(from.saturating_sub(window.from.0).0 / step).unwrap_or(usize::MAX);
            if let Some(there) = found.get_mut(host).and_then(|there| there.get_mut(place)) {
                *there = true;
            }
        },
    )?;
    Ok(found)
}

/// The agents of a part, each looked at once; none where it is not wanted.
#[derive(Default)]
struct Agents {
    by_number: HashMap<u32, Option<Labels>, RandomState>,
    by_bytes: HashMap<Box<[u8]>, Option<Labels>, RandomState>,
}

/// Hands out the ledgers of a question's window, of the agents that are wanted by their labels.
fn ledgers(
    view: &View,
    question: Question<'_>,
    figures: bool,
    wanted: impl Fn(&Labels) -> bool,
    mut visit: impl FnMut(&Labels, &AgentLedger),
) -> Result<(), StoreError> {
    timed_ledgers(view, question, figures, wanted, |_, labels, ledger| visit(labels, ledger))
}

/// The same, with the start of the batch's window, or of the bucket that it was added to.
fn timed_ledgers(
    view: &View,
    question: Question<'_>,
    figures: bool,
    wanted: impl Fn(&Labels) -> bool,
    mut visit: impl FnMut(Timestamp, &Labels, &AgentLedger),
) -> Result<(), StoreError> {
    let kept = |labels: Labels| wanted(&labels).then_some(labels);
    for part in Part::all(view, question) {
        let part = part?;
        let mut agents = Agents::default();
        for span in part.ledger_spans() {
            let prefix = [Table::Ledgers as u8];
            let since = if let Source::Lacking { since, .. } = span.source { since } else { 0 };
            match span.source {
                Source::Raw | Source::Lacking { .. } => view.entries(Kind::Raw, &prefix, span.window, |key, value| {
                    if ledger_ordinal(key).map_err(corrupt("ledger key"))? < since {
                        return Ok(());
                    }
                    let raw = RawParts::of(value).map_err(corrupt("ledger"))?;
                    if !agents.by_bytes.contains_key(raw.labels) {
                        let labels = read_labels(&mut Reader::new(raw.labels)).map_err(corrupt("ledger"))?;
                        agents.by_bytes.insert(raw.labels.into(), kept(labels));
                    }
                    if let Some(Some(labels)) = agents.by_bytes.get(raw.labels) {
                        visit(ledger_start(key).map_err(corrupt("ledger key"))?, labels, &raw.ledger(figures).map_err(corrupt("ledger"))?);
                    }
                    Ok(())
                })?,
                Source::Tier(width) => view.entries(width.kind(), &prefix, span.window, |key, value| {
                    let from = ledger_start(key).map_err(corrupt("ledger key"))?;
                    let mut numbered = Vec::new();
                    decode_some(value, figures, |number, ledger| numbered.push((number, ledger))).map_err(corrupt("ledgers"))?;
                    for (number, ledger) in numbered {
                        if let Entry::Vacant(vacant) = agents.by_number.entry(number) {
                            vacant.insert(kept(read_series(&part.words, number)?));
                        }
                        if let Some(labels) = &agents.by_number[&number] {
                            visit(from, labels, &ledger);
                        }
                    }
                    Ok(())
                })?,
            }
        }
    }
    Ok(())
}
