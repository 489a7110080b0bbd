//! The part of a question that one slot's dictionaries answer, and the rows of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use flamekeeper_profile::{Labels, SampleType, Window, label};

use super::append::text_content;
use super::codec::Reader;
use super::corrupt;
use super::dirty::Subject;
use super::plan::{Dirty, Source, Span, plan};
use super::records::{decode_type, read_labels};
use super::row::{self, RowHeader, RowKey, Table};
use super::tier::{Kind, Slot, Width};
use super::view::View;
use super::words::Words;
use crate::selector::Selector;
use crate::store::StoreError;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) window: Window,
    pub(super) selector: &'a Selector,
    /// Whether rows merged per service and version can answer it.
    pub(super) merged: bool,
    /// Steps that a bucket must lie in, from the window's start; none where only the whole window matters.
    pub(super) step: Option<u64>,
}

impl<'a> Question<'a> {
    /// About a selection; merged rows do where nobody asks for other labels than those that they have.
    pub(super) fn new(window: Window, selector: &'a Selector, by: Option<&str>, step: Option<u64>) -> Self {
        let merged = selector.labels().chain(by).all(|name| MERGED_LABELS.contains(&name));
        Self { window, selector, merged, step }
    }

    /// The spans of a part of the window. With steps, those of each step, so that no bucket lies in two.
    fn spans(&self, part: Window, view: &View, dirty: &Dirty) -> Vec<Span> {
        let Some(step) = self.step else { return plan([part], &view.floors, self.merged, dirty) };
        let first = part.from.0.saturating_sub(self.window.from.0) / step;
        let place = |number: u64| self.window.from.saturating_add(number.saturating_mul(step));
        let steps = (first..).map(|number| Window::new(place(number).max(part.from), place(number + 1).min(part.to)));
        plan(steps.take_while(|step| step.duration() > 0), &view.floors, self.merged, dirty)
    }
}

/// The labels of rows of many series.
pub(super) const MERGED_LABELS: [&str; 2] = [label::SERVICE, label::VERSION];

/// A row as it is scanned; its stacks are still to be read.
pub(super) struct Row<'a> {
    pub(super) key: RowKey,
    pub(super) labels: &'a Labels,
    pub(super) header: RowHeader,
    pub(super) stacks: Reader<'a>,
}

/// A part of a question's window.
pub(super) struct Part<'a> {
    /// The slot of its dictionaries.
    pub(super) slot: Slot,
    pub(super) words: Words,
    pub(super) view: &'a View,
    pub(super) question: Question<'a>,
    window: Window,
    dirty: HashMap<Subject, Dirty>,
    /// Sets of labels that were looked at, by number; none where the selector refuses them.
    series: Series,
}

/// Sets of labels by their number.
type Series = HashMap<u32, Option<Labels>, foldhash::fast::RandomState>;

impl<'a> Part<'a> {
    /// The parts of a question, oldest first.
    pub(super) fn all(view: &'a View, question: Question<'a>) -> impl Iterator<Item = Result<Self, StoreError>> {
        view.parts(question.window).map(move |(window, slot, words)| {
            Ok(Self { slot, words, view, question, window, dirty: view.dirty(window)?, series: Series::default() })
        })
    }

    /// The services and types that are wanted.
    pub(super) fn subjects(&self, wanted: impl Fn(&SampleType) -> bool) -> Result<Vec<(u32, u32, SampleType)>, StoreError> {
        let services: Vec<u32> = match self.question.selector.exact(label::SERVICE) {
            Some(name) => self.words.services.number(&[], &text_content(name))?.into_iter().collect(),
            None => self.words.services.entries(&[]).map(|entry| Ok(entry?.0)).collect::<Result<_, StoreError>>()?,
        };
        let mut types = Vec::new();
        for entry in self.words.types.entries(&[]) {
            let (number, content) = entry?;
            let sample_type = decode_type(&content).map_err(corrupt("sample type"))?;
            if wanted(&sample_type) {
                types.push((number, sample_type));
            }
        }
        let pairs = services.into_iter().flat_map(|service| types.iter().map(move |(number, t)| (service, *number, t.clone())));
        Ok(pairs.collect())
    }

    /// Hands out the selected rows of a service and type.
    pub(super) fn rows(
        &mut self,
        service: u32,
        sample_type: u32,
        mut visit: impl FnMut(Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let none = Dirty::default();
        let dirty = self.dirty.get(&Subject::Rows { service, sample_type }).unwrap_or(&none);
        let (view, words, selector, series) = (self.view, &self.words, self.question.selector, &mut self.series);
        for span in self.question.spans(self.window, view, dirty) {
            let (kind, table) = match span.source {
                Source::Raw | Source::Lacking { .. } => (Kind::Raw, Table::Rows),
                Source::Tier(Width::Hour) if !self.question.merged => (Kind::Hour, Table::Series),
                Source::Tier(width) => (width.kind(), Table::Rows),
            };
            view.entries(kind, &RowKey::prefix(table, service, sample_type), span.window, |key, value| {
                let mut key = RowKey::decode(key).map_err(corrupt("row key"))?;
                if let Source::Lacking { width, since } = span.source {
                    if key.ordinal < since {
                        return Ok(());
                    }
                    key.from = width.bucket(key.from);
                }
                let Some(labels) = labels(words, series, key.series, selector)? else { return Ok(()) };
                let mut stacks = Reader::new(value);
                let header = row::decode_header(&mut stacks).map_err(corrupt("row"))?;
                visit(Row { key, labels, header, stacks })
            })?;
        }
        Ok(())
    }

    /// The spans in which the ledgers of this part lie.
    pub(super) fn ledger_spans(&self) -> Vec<Span> {
        let none = Dirty::default();
        let dirty = self.dirty.get(&Subject::Ledgers).unwrap_or(&none);
        self.question.spans(self.window, self.view, dirty)
    }
}

/// The labels of a number, where the selector takes them.
fn labels<'a>(words: &Words, cache: &'a mut Series, number: u32, selector: &Selector) -> Result<Option<&'a Labels>, StoreError> {
    let labels = match cache.entry(number) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(vacant) => {
            let labels = read_series(words, number)?;
            vacant.insert(selector.matches(&labels).then_some(labels))
        }
    };
    Ok(labels.as_ref())
}

/// The labels of a number.
pub(super) fn read_series(words: &Words, number: u32) -> Result<Labels, StoreError> {
    let content = words.series.content(&[], number)?;
    read_labels(&mut Reader::new(&content)).map_err(corrupt("series"))
}
