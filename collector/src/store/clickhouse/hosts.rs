//! Hosts: which ones a selection has samples of, what they took and lost, and what they said of themselves.

use std::collections::{BTreeMap, BTreeSet};

use flamekeeper_profile::{AgentFigures, Figure, Labels, Ledger, Timestamp, Window, label};

use super::content::decode_labels;
use super::error::damaged;
use super::plan::{Condition, HOSTS, LEDGERS, SERIES, Tiers};
use super::rowbinary::{Damaged, Reader};
use super::{ClickHouseStore, Question};
use crate::selector::Selector;
use crate::store::{HostSummary, StoreError};

/// The name of the samples taken among the counts of a ledger.
pub(super) const TAKEN: &str = "taken";

/// Figures as a text in a column: an object of JSON.
pub(super) fn encode_figures(figures: &AgentFigures) -> String {
    serde_json::Value::Object(figures.iter().map(|(figure, value)| (figure.as_str().to_owned(), value.into())).collect()).to_string()
}

/// Figures of a later version are passed over.
pub(super) fn decode_figures(text: &str) -> Result<AgentFigures, Damaged> {
    let read: BTreeMap<String, u64> = serde_json::from_str(text).map_err(|_| Damaged)?;
    let mut figures = AgentFigures::default();
    for (name, value) in read {
        if let Some(figure) = Figure::parse(&name) {
            figures.set(figure, value);
        }
    }
    Ok(figures)
}

/// The counts of a ledger, as [`Rows`](super::rowbinary::Rows) hold them.
pub(super) fn read_ledger(reader: &mut Reader<'_>) -> Result<Ledger, Damaged> {
    let mut ledger = Ledger::new();
    reader.counts(|name, count| match name {
        TAKEN => ledger.take(count),
        name => ledger.add_entry(name, count),
    })?;
    Ok(ledger)
}

impl ClickHouseStore {
    /// What the hosts of a question took and lost, and those that the selector itself names: a host may have lost all that it took.
    pub(super) fn ledger(&self, question: &Question<'_>, tiers: &Tiers, condition: &Condition) -> Result<Ledger, StoreError> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let tables = if question.merged { HOSTS } else { SERIES };
        for rows in tables.rows(tiers, "host", &condition.rows) {
            let bytes = self.ask(&condition.query(format!("SELECT DISTINCT host FROM ({rows})")), "list hosts")?;
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() {
                names.insert(reader.text().map_err(damaged("hosts"))?.to_owned());
            }
        }
        let whole = Tiers::of(question.window, None, question.merged, &self.floors());
        let mut sum = Ledger::new();
        self.ledgers(&whole, |agent| {
            if names.contains(agent.labels.get(label::HOST)) || question.selector.matches(&agent.labels) {
                sum.add(&agent.ledger);
            }
        })?;
        Ok(sum)
    }

    /// Hands out what each agent reported, possibly in parts.
    fn ledgers(&self, tiers: &Tiers, mut visit: impl FnMut(HostSummary)) -> Result<(), StoreError> {
        let all = Condition::default();
        for rows in LEDGERS.rows(tiers, "labels, until, counts, figures", "") {
            let text = format!("SELECT labels, max(until), sumMap(counts), max(figures) FROM ({rows}) GROUP BY labels");
            let bytes = self.ask(&all.query(text), "read ledgers")?;
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() {
                visit(read_host(&mut reader).map_err(damaged("ledgers"))?);
            }
        }
        Ok(())
    }

    /// See [`crate::store::Store::hosts`].
    pub(super) fn reported(&self, window: Window) -> Result<Vec<HostSummary>, StoreError> {
        let selector = Selector::default();
        let question = Question { window, selector: &selector, profile: None, merged: false, step: None };
        let (tiers, _) = self.plan(&question)?;
        let mut found: BTreeMap<Labels, HostSummary> = BTreeMap::new();
        self.ledgers(&tiers, |part| match found.get_mut(&part.labels) {
            Some(sum) => {
                sum.ledger.add(&part.ledger);
                if part.last_seen >= sum.last_seen {
                    (sum.last_seen, sum.figures) = (part.last_seen, part.figures);
                }
            }
            None => found.extend([(part.labels.clone(), part)]),
        })?;
        Ok(found.into_values().collect())
    }
}

pub(super) fn read_host(reader: &mut Reader<'_>) -> Result<HostSummary, Damaged> {
    let labels = decode_labels(reader.text()?)?;
    let last_seen = Timestamp(reader.u64()?);
    let ledger = read_ledger(reader)?;
    // The instant that the figures are of is that of the newest window.
    let _until = reader.u64()?;
    Ok(HostSummary { labels, last_seen, ledger, figures: decode_figures(reader.text()?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures read back, one of a later version is passed over.
    #[test]
    fn figures_round_trip() {
        let mut figures = AgentFigures::default();
        figures.set(Figure::Processes, 3);
        assert_eq!(decode_figures(&encode_figures(&figures)), Ok(figures));
        assert_eq!(decode_figures(r#"{"of_tomorrow": 1, "processes": 3}"#), Ok(figures));
        assert_eq!(decode_figures("{"), Err(Damaged));
    }
}
