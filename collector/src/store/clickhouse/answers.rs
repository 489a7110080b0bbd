//! Answering questions: what the server sums, and what the sums stand for.

use std::collections::{BTreeMap, HashMap};

use flamekeeper_profile::{Completeness, Labels, SampleType, StackEnd, StackId, Window, label};

use super::content::{COLUMNS, ContentId, decode_stack, decode_type};
use super::error::{ClickHouseError, damaged};
use super::plan::{Condition, SAMPLES, SERIES, TierTables, Tiers, slots};
use super::rowbinary::{Damaged, Reader};
use super::{ClickHouseStore, Question};
use crate::selector::Selector;
use crate::store::{MAX_CELLS, MAX_POINTS, MergedProfile, Selection, SeriesSummary, StoreError, TimeSeries};

/// Values of one label that an expression may be tried on.
const MAX_VALUES: usize = 200_000;

impl<'a> Question<'a> {
    /// About a selection; merged rows do where nobody asks for other labels than those that they have.
    pub(super) fn new(selection: &'a Selection, by: Option<&str>, step: Option<u64>) -> Self {
        let mut asked = selection.selector.labels().chain(by);
        let merged = asked.all(|name| [label::SERVICE, label::VERSION].contains(&name));
        Self { window: selection.window, selector: &selection.selector, profile: Some(&selection.profile_type), merged, step }
    }

    fn tables(&self) -> TierTables {
        if self.merged { SAMPLES } else { SERIES }
    }
}

impl ClickHouseStore {
    /// The tiers and the condition of a question.
    pub(super) fn plan(&self, question: &Question<'_>) -> Result<(Tiers, Condition), StoreError> {
        let tiers = Tiers::of(question.window, question.step, question.merged, &self.floors());
        let values = self.values(question.selector, question.window)?;
        Ok((tiers, Condition::new(question.selector, question.profile, question.window, &values)))
    }

    /// The values that the expressions of a selector take, of those that the window's series have; none for other conditions.
    fn values(&self, selector: &Selector, window: Window) -> Result<Vec<Option<Vec<String>>>, StoreError> {
        let mut all = Vec::new();
        for matcher in selector.matchers() {
            if matcher.exact().is_some() {
                all.push(None);
                continue;
            }
            let column = match matcher.label() {
                name @ (label::SERVICE | label::HOST) => name.to_owned(),
                _ => "labels[{label:String}]".to_owned(),
            };
            let text =
                format!("SELECT DISTINCT toString({column}) FROM series WHERE {} LIMIT {} FORMAT RowBinary", slots(window), MAX_VALUES + 1);
            let query = super::client::Query::new(text).with("label", matcher.label());
            let answer = self.ask(&query, "look up a label's values")?;
            let (mut reader, mut values, mut seen) = (Reader::new(&answer), Vec::new(), 0);
            while !reader.is_empty() {
                let value = reader.text().map_err(damaged("a label's values"))?;
                seen += 1;
                if seen > MAX_VALUES {
                    return Err(StoreError::TooManyValues { label: matcher.label().to_owned(), limit: MAX_VALUES });
                }
                if matcher.takes(value) {
                    values.push(value.to_owned());
                }
            }
            all.push(Some(values));
        }
        Ok(all)
    }

    /// Asks; the answer is in RowBinary.
    pub(super) fn ask(&self, query: &super::client::Query, what: &'static str) -> Result<Vec<u8>, StoreError> {
        self.client.ask(query).map_err(|error| self.explain(error, what))
    }

    /// An error of the server as the store's: a schema that is gone is told as such.
    pub(super) fn explain(&self, error: ClickHouseError, what: &'static str) -> StoreError {
        if let ClickHouseError::Stopped(stopped) = error {
            return StoreError::Stopped(stopped);
        }
        if error.is_missing() {
            return StoreError::Schema { found: None, expected: super::schema::VERSION };
        }
        error.while_doing(what)
    }

    /// See [`crate::store::Store::merged`].
    pub(super) fn merge(&self, selection: &Selection) -> Result<MergedProfile, StoreError> {
        let question = Question::new(selection, None, None);
        let (tiers, condition) = self.plan(&question)?;
        let limit = self.merged_stacks;
        let mut sums: Vec<(ContentId, SampleType, u64)> = Vec::new();
        let mut names = Vec::new();
        for rows in question.tables().rows(&tiers, "stack, sample_type, value", &condition.rows) {
            // A stack has a row per sample type: few, so twice the limit of rows is enough to see that it is passed.
            let text = format!("SELECT stack, sample_type, sum(value) FROM ({rows}) GROUP BY stack, sample_type LIMIT {}", limit * 2 + 2);
            let answer = self.ask(&condition.query(text), "merge stacks")?;
            let mut reader = Reader::new(&answer);
            let mut types: HashMap<&str, SampleType> = HashMap::new();
            while !reader.is_empty() {
                sums.push(read_sum(&mut reader, &mut types).map_err(damaged("stacks"))?);
            }
            names.push(rows);
        }
        let mut distinct: Vec<ContentId> = sums.iter().map(|(stack, _, _)| *stack).collect();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() > limit {
            return Err(StoreError::TooLarge { limit });
        }
        let mut answer = MergedProfile::default();
        let mut stacks = HashMap::new();
        for rows in names {
            self.read_stacks(&question, &rows, &condition, &mut answer, &mut stacks)?;
        }
        for (id, sample_type, value) in sums {
            let missing = || StoreError::Corrupt { what: format!("stack {}, which no dictionary has", id.hex()) };
            let (stack, end) = stacks.get(&id).copied().ok_or_else(missing)?;
            sample_type.query_unit().clone_into(&mut answer.unit);
            if sample_type.is_periodic() {
                answer.completeness.count(value, end);
            }
            answer.merged.add(stack, &sample_type, value);
        }
        answer.completeness.ledger = self.ledger(&question, &tiers, &condition)?;
        Ok(answer)
    }

    /// Reads the contents of the stacks of some rows into an answer's tables.
    fn read_stacks(
        &self,
        question: &Question<'_>,
        rows: &str,
        condition: &Condition,
        answer: &mut MergedProfile,
        stacks: &mut HashMap<ContentId, (StackId, StackEnd)>,
    ) -> Result<(), StoreError> {
        // The service stands first in the dictionary's order.
        let text = format!(
            "SELECT id, content FROM stacks WHERE {}{} AND id GLOBAL IN (SELECT stack FROM ({rows})) LIMIT 1 BY id",
            slots(question.window),
            condition.series
        );
        let bytes = self.ask(&condition.query(text), "read stacks")?;
        let mut reader = Reader::new(&bytes);
        while !reader.is_empty() {
            let mut read = || Ok((ContentId(reader.fixed()?), decode_stack(reader.string()?, &mut answer.merged.tables)?));
            let (id, stack) = read().map_err(damaged("contents of stacks"))?;
            stacks.insert(id, stack);
        }
        Ok(())
    }

    /// See [`crate::store::Store::time_series`].
    pub(super) fn steps(&self, selection: &Selection, by: &str, step: u64) -> Result<TimeSeries, StoreError> {
        let (step, window) = (step.max(1), selection.window);
        let points = usize::try_from(window.duration().div_ceil(step)).unwrap_or(usize::MAX);
        if points > MAX_POINTS {
            return Err(StoreError::TooManyPoints { points, limit: MAX_POINTS });
        }
        let question = Question::new(selection, Some(by), Some(step));
        let (tiers, condition) = self.plan(&question)?;
        let mut answer = TimeSeries::default();
        let column = if COLUMNS.contains(&by) { by } else { "series" };
        let place = format!("intDiv(at - {}, {step}) AS place", window.from.0);
        for rows in question.tables().rows(&tiers, &format!("{place}, {column}, sample_type, stack_end, value"), &condition.rows) {
            let by_place = format!("SELECT place, {column}, sample_type, stack_end, sum(value) AS total FROM ({rows}) GROUP BY ALL");
            let (text, named) = match column {
                "series" => (
                    format!(
                        "SELECT place, named.text AS text, sample_type, stack_end, sum(total) FROM ({by_place}) AS sums GLOBAL INNER JOIN \
                         (SELECT id, any(labels[{{by:String}}]) AS text FROM series WHERE {} GROUP BY id) AS named \
                         ON sums.series = named.id GROUP BY ALL",
                        slots(window)
                    ),
                    true,
                ),
                _ => (by_place, false),
            };
            let query = condition.query(text);
            let query = if named { query.with("by", by) } else { query };
            let bytes = self.ask(&query, "sum over time")?;
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() {
                let row = read_point(&mut reader).map_err(damaged("sums over time"))?;
                add_point(&mut answer, &row, points)?;
            }
        }
        answer.completeness.ledger = self.ledger(&question, &tiers, &condition)?;
        Ok(answer)
    }

    /// See [`crate::store::Store::series`].
    pub(super) fn catalog(&self, window: Window) -> Result<Vec<SeriesSummary>, StoreError> {
        let selector = Selector::default();
        let question = Question { window, selector: &selector, profile: None, merged: false, step: None };
        let (tiers, condition) = self.plan(&question)?;
        let mut sums: Vec<([u8; 16], SampleType, StackEnd, u64)> = Vec::new();
        let mut names: HashMap<[u8; 16], Labels> = HashMap::new();
        for rows in SERIES.rows(&tiers, "series, sample_type, stack_end, value", &condition.rows) {
            let text = format!("SELECT series, sample_type, stack_end, sum(value) FROM ({rows}) GROUP BY ALL");
            let bytes = self.ask(&condition.query(text), "list series")?;
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() {
                let mut read = || Ok((reader.fixed()?, decode_type(reader.text()?)?, StackEnd::parse(reader.text()?), reader.u64()?));
                sums.push(read().map_err(damaged("series"))?);
            }
            let text = format!(
                "SELECT id, labels FROM series WHERE {} AND id GLOBAL IN (SELECT series FROM ({rows})) LIMIT 1 BY id",
                slots(window)
            );
            let bytes = self.ask(&condition.query(text), "list series")?;
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() {
                let (id, labels) = read_labels(&mut reader).map_err(damaged("labels"))?;
                names.insert(id, labels);
            }
        }
        summarize(sums, &names)
    }
}

/// A sum per stack and type; types that were read are not read again.
pub(super) fn read_sum<'a>(
    reader: &mut Reader<'a>,
    types: &mut HashMap<&'a str, SampleType>,
) -> Result<(ContentId, SampleType, u64), Damaged> {
    let (stack, text) = (ContentId(reader.fixed()?), reader.text()?);
    let sample_type = match types.get(text) {
        Some(known) => known.clone(),
        None => {
            let read = decode_type(text)?;
            types.insert(text, read.clone());
            read
        }
    };
    Ok((stack, sample_type, reader.u64()?))
}

/// What a step holds of one value of the label, one type and one end of stacks.
pub(super) struct Point<'a> {
    place: u64,
    value: &'a str,
    sample_type: SampleType,
    end: StackEnd,
    total: u64,
}

pub(super) fn read_point<'a>(reader: &mut Reader<'a>) -> Result<Point<'a>, Damaged> {
    Ok(Point {
        place: reader.u64()?,
        value: reader.text()?,
        sample_type: decode_type(reader.text()?)?,
        end: StackEnd::parse(reader.text()?),
        total: reader.u64()?,
    })
}

fn add_point(answer: &mut TimeSeries, row: &Point<'_>, points: usize) -> Result<(), StoreError> {
    row.sample_type.query_unit().clone_into(&mut answer.unit);
    if !answer.by_value.contains_key(row.value) {
        let cells = points.saturating_mul(answer.by_value.len() + 1);
        if cells > MAX_CELLS {
            return Err(StoreError::TooManyPoints { points: cells, limit: MAX_CELLS });
        }
        answer.by_value.insert(row.value.to_owned(), vec![0; points]);
    }
    let place = usize::try_from(row.place).unwrap_or(usize::MAX);
    if let Some(sum) = answer.by_value.get_mut(row.value).and_then(|values| values.get_mut(place)) {
        *sum = sum.saturating_add(row.sample_type.weigh(row.total));
    }
    if row.sample_type.is_periodic() {
        answer.completeness.count(row.total, row.end);
    }
    Ok(())
}

pub(super) fn read_labels(reader: &mut Reader<'_>) -> Result<([u8; 16], Labels), Damaged> {
    let id = reader.fixed()?;
    let mut labels = Labels::new();
    for _ in 0..reader.length()? {
        labels.set(reader.text()?, reader.text()?);
    }
    Ok((id, labels))
}

fn summarize(
    sums: Vec<([u8; 16], SampleType, StackEnd, u64)>,
    names: &HashMap<[u8; 16], Labels>,
) -> Result<Vec<SeriesSummary>, StoreError> {
    let mut found: BTreeMap<(Labels, SampleType), SeriesSummary> = BTreeMap::new();
    for (id, sample_type, end, total) in sums {
        let missing = || StoreError::Corrupt { what: format!("series {}, which no dictionary has", ContentId(id).hex()) };
        let labels = names.get(&id).ok_or_else(missing)?;
        let summary = found.entry((labels.clone(), sample_type.clone())).or_insert_with(|| SeriesSummary {
            labels: labels.clone(),
            sample_type: sample_type.clone(),
            weight: 0,
            samples: 0,
            truncated: 0,
        });
        summary.weight = summary.weight.saturating_add(sample_type.weigh(total));
        if sample_type.is_periodic() {
            let mut counted = Completeness::default();
            counted.count(total, end);
            summary.samples = summary.samples.saturating_add(counted.samples);
            summary.truncated = summary.truncated.saturating_add(counted.truncated_total());
        }
    }
    Ok(found.into_values().collect())
}
