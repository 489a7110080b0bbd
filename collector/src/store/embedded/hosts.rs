//! Hosts: which ones a selection has samples of, what they took and lost, and what they said of themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use flamekeeper_profile::{Labels, Ledger, Window, label};

use super::codec::Reader;
use super::corrupt;
use super::ledgers::{AgentLedger, RawLedger, decode_bucket, ledger_ordinal};
use super::part::{Part, Question, Row, read_series};
use super::plan::Source;
use super::row::Table;
use super::tier::Kind;
use super::view::View;
use super::words::Words;
use crate::selector::Selector;
use crate::store::{HostSummary, StoreError};

/// The hosts that a selection has samples of.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    names: BTreeSet<String>,
    /// Numbers of the part at hand that were seen already.
    numbers: HashSet<u32>,
}

impl Hosts {
    /// To be called before the rows of another part.
    pub(super) fn next_part(&mut self) {
        self.numbers.clear();
    }

    pub(super) fn see(&mut self, row: &Row<'_>, words: &Words) -> Result<(), StoreError> {
        if row.header.hosts.is_empty() {
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
        ledgers(view, question, |labels, ledger| {
            if self.names.contains(labels.get(label::HOST)) || question.selector.matches(labels) {
                sum.add(&ledger.ledger);
            }
        })?;
        Ok(sum)
    }
}

/// See [`crate::store::Store::hosts`].
pub(super) fn hosts(view: &View, window: Window) -> Result<Vec<HostSummary>, StoreError> {
    let mut found: BTreeMap<Labels, AgentLedger> = BTreeMap::new();
    // The tier of minutes has no figures.
    let question = Question { window, selector: &Selector::default(), merged: false, step: None };
    ledgers(view, question, |labels, ledger| match found.get_mut(labels) {
        Some(sum) => sum.add(ledger),
        None => found.extend([(labels.clone(), ledger.clone())]),
    })?;
    let summary =
        |(labels, sum): (Labels, AgentLedger)| HostSummary { labels, last_seen: sum.to, ledger: sum.ledger, figures: sum.figures };
    Ok(found.into_iter().map(summary).collect())
}

/// Hands out the ledgers of a question's window with the labels of their agent.
fn ledgers(view: &View, question: Question<'_>, mut visit: impl FnMut(&Labels, &AgentLedger)) -> Result<(), StoreError> {
    for part in Part::all(view, question) {
        let part = part?;
        let mut agents: HashMap<u32, Labels> = HashMap::new();
        for span in part.ledger_spans() {
            let prefix = [Table::Ledgers as u8];
            let since = if let Source::Lacking { since, .. } = span.source { since } else { 0 };
            match span.source {
                Source::Raw | Source::Lacking { .. } => view.entries(Kind::Raw, &prefix, span.window, |key, value| {
                    if ledger_ordinal(key).map_err(corrupt("ledger key"))? >= since {
                        let raw = RawLedger::decode(value).map_err(corrupt("ledger"))?;
                        visit(&raw.labels, &raw.ledger);
                    }
                    Ok(())
                })?,
                Source::Tier(width) => view.entries(width.kind(), &prefix, span.window, |_, value| {
                    let mut numbered = Vec::new();
                    decode_bucket(value, |number, ledger| numbered.push((number, ledger))).map_err(corrupt("ledgers"))?;
                    for (number, ledger) in numbered {
                        if let std::collections::hash_map::Entry::Vacant(vacant) = agents.entry(number) {
                            vacant.insert(read_series(&part.words, number)?);
                        }
                        visit(&agents[&number], &ledger);
                    }
                    Ok(())
                })?,
            }
        }
    }
    Ok(())
}
