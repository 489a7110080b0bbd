//! Which tables answer a question, and the conditions that choose their rows.
//!
//! The tiers are filled in the insert of the rows that they are derived from, so there is nothing that they lack: the plan is
//! that of the embedded store ([`plan`]) without markers. A value that somebody chose is a parameter; what stands in the text are
//! names of this program and numbers that it computed.

use flamekeeper_profile::{Timestamp, Window, label};

use super::client::{Query, escape, escape_all};
use super::content::COLUMNS;
use crate::selector::Selector;
use crate::store::embedded::plan::{Dirty, Source, plan};
use crate::store::embedded::tier::{Floors, Kind, Width};

/// Ranges of time in one query; a question that needs more is asked in several.
const MAX_RANGES: usize = 400;

/// The windows that each tier answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tiers {
    pub(super) raw: Vec<Window>,
    pub(super) minutes: Vec<Window>,
    pub(super) hours: Vec<Window>,
}

impl Tiers {
    /// Of a window, or of each step of it, so that no bucket lies in two. `merged` says whether rows merged by service and version do.
    pub(super) fn of(window: Window, step: Option<u64>, merged: bool, floors: &Floors) -> Self {
        let step = step.unwrap_or(u64::MAX).max(1);
        // What lies before the floor has no rows: its steps need not be looked at.
        let first = floors.hour.0.saturating_sub(window.from.0) / step;
        let place = |number: u64| window.from.saturating_add(number.saturating_mul(step));
        let steps = (first..).map(|number| Window::new(place(number), place(number.saturating_add(1)).min(window.to)));
        let mut tiers = Self::default();
        for span in plan(steps.take_while(|step| step.duration() > 0), floors, merged, &Dirty::default()) {
            let windows = match span.source {
                Source::Raw | Source::Lacking { .. } => &mut tiers.raw,
                Source::Tier(Width::Minute) => &mut tiers.minutes,
                Source::Tier(Width::Hour) => &mut tiers.hours,
            };
            match windows.last_mut() {
                Some(last) if last.to == span.window.from => last.to = span.window.to,
                _ => windows.push(span.window),
            }
        }
        tiers
    }
}

/// Tables that hold the same kind of rows, one a tier.
#[derive(Clone, Copy, Debug)]
pub(super) struct TierTables {
    pub(super) raw: &'static str,
    pub(super) minutes: &'static str,
    pub(super) hours: &'static str,
}

/// Which rows of samples there are.
pub(super) const SAMPLES: TierTables = TierTables { raw: "samples", minutes: "minutes", hours: "hours" };
/// The same where a label other than service and version is asked for.
pub(super) const SERIES: TierTables = TierTables { raw: "samples", minutes: "minutes", hours: "hour_series" };
/// Which hosts have samples.
pub(super) const HOSTS: TierTables = TierTables { raw: "samples", minutes: "minute_hosts", hours: "hour_hosts" };
/// Ledgers of agents.
pub(super) const LEDGERS: TierTables = TierTables { raw: "ledgers", minutes: "ledger_minutes", hours: "ledger_hours" };

impl TierTables {
    /// The queries `SELECT columns FROM table WHERE time AND condition` that together give the rows of a plan, as many as stand
    /// in one statement each, joined by `UNION ALL`.
    pub(super) fn rows(self, tiers: &Tiers, columns: &str, condition: &str) -> Vec<String> {
        let mut statements = Vec::new();
        let (mut text, mut room) = (String::new(), MAX_RANGES);
        for (table, windows) in [(self.raw, &tiers.raw), (self.minutes, &tiers.minutes), (self.hours, &tiers.hours)] {
            let mut rest = windows.as_slice();
            while !rest.is_empty() {
                if room == 0 {
                    statements.push(std::mem::take(&mut text));
                    room = MAX_RANGES;
                }
                let (part, later) = rest.split_at(rest.len().min(room));
                (rest, room) = (later, room - part.len());
                let times: Vec<String> = part.iter().map(|window| format!("(at >= {} AND at < {})", window.from.0, window.to.0)).collect();
                if !text.is_empty() {
                    text += " UNION ALL ";
                }
                text += &format!("SELECT {columns} FROM {table} WHERE ({}){condition}", times.join(" OR "));
            }
        }
        statements.extend((!text.is_empty()).then_some(text));
        statements
    }
}

/// The slots of dictionaries that a window's rows refer to, as a condition.
pub(super) fn slots(window: Window) -> String {
    let length = Kind::Words.slot_length();
    let last = window.to.0.saturating_sub(1).max(window.from.0) / length;
    format!("slot BETWEEN {} AND {last}", window.from.0 / length)
}

/// The slot that the rows of an instant refer to.
pub(super) fn slot(at: Timestamp) -> u32 {
    u32::try_from(at.0 / Kind::Words.slot_length()).unwrap_or(u32::MAX)
}

/// The conditions of a selector, with their parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Condition {
    /// Of rows: begins with ` AND ` where it is not empty.
    pub(super) rows: String,
    /// Of the dictionary of series.
    pub(super) series: String,
    parameters: Vec<(String, String)>,
}

impl Condition {
    /// Of a selection of a profile type. `values` gives those values of a label that an expression takes, which only the collector
    /// knows: its expressions are not the server's.
    pub(super) fn new(selector: &Selector, profile: Option<&str>, window: Window, values: &[Option<Vec<String>>]) -> Self {
        let mut condition = Self::default();
        if let Some(profile) = profile {
            condition.rows += " AND profile = {profile:String}";
            condition.parameters.push(("profile".to_owned(), escape(profile)));
        }
        let mut labels = String::new();
        for (number, (matcher, values)) in selector.matchers().iter().zip(values).enumerate() {
            let (test, value) = match (matcher.exact(), values) {
                (Some((value, true)), _) => (format!(" = {{v{number}:String}}"), escape(value)),
                (Some((value, false)), _) => (format!(" != {{v{number}:String}}"), escape(value)),
                (None, values) => {
                    let values = values.as_deref().unwrap_or_default();
                    (format!(" IN {{v{number}:Array(String)}}"), escape_all(values.iter().map(String::as_str)))
                }
            };
            condition.parameters.push((format!("v{number}"), value));
            if COLUMNS.contains(&matcher.label()) {
                condition.rows += &format!(" AND {}{test}", matcher.label());
                let service = matcher.label() == label::SERVICE;
                condition.series += &if service { format!(" AND service{test}") } else { String::new() };
            } else {
                labels += &format!(" AND labels[{{l{number}:String}}]{test}");
                condition.parameters.push((format!("l{number}"), escape(matcher.label())));
            }
        }
        if !labels.is_empty() {
            let chosen = format!("{}{}{labels}", slots(window), condition.series);
            condition.rows += &format!(" AND series IN (SELECT id FROM series WHERE {chosen})");
        }
        condition
    }

    /// A query with this condition's parameters.
    pub(super) fn query(&self, text: String) -> Query {
        Query { text: text + " FORMAT RowBinary", parameters: self.parameters.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = Timestamp::SECOND;
    const HOUR: u64 = 3600 * SECOND;

    fn window(from: u64, to: u64) -> Window {
        Window::new(Timestamp(from), Timestamp(to))
    }

    /// A window is hours in its middle, minutes and rows at its edges; steps that are no whole minutes need rows at each edge.
    #[test]
    fn tiers_of_windows() {
        let asked = window(HOUR - 90 * SECOND, 3 * HOUR + 5);
        let tiers = Tiers::of(asked, None, true, &Floors::default());
        assert_eq!(tiers.hours, [window(HOUR, 3 * HOUR)]);
        assert_eq!(tiers.minutes, [window(HOUR - 60 * SECOND, HOUR)]);
        assert_eq!(tiers.raw, [window(HOUR - 90 * SECOND, HOUR - 60 * SECOND), window(3 * HOUR, 3 * HOUR + 5)]);
        let steps = Tiers::of(window(0, 10 * HOUR), Some(90 * SECOND), true, &Floors::default());
        assert_eq!((steps.hours.len(), steps.minutes.len(), steps.raw.len()), (0, 201, 200));
        let statements = SAMPLES.rows(&steps, "value", " AND 1");
        assert_eq!(statements.len(), 2);
        assert_eq!(statements.iter().map(|text| text.matches("at >=").count()).sum::<usize>(), 401);
        assert_eq!(Tiers::of(window(0, u64::MAX), None, true, &Floors::default()).hours.len(), 1);
        assert_eq!(Tiers::of(window(5, 5), None, true, &Floors::default()), Tiers::default());
    }

    /// What somebody wrote is a parameter, never a part of the text.
    #[test]
    fn values_are_parameters() {
        let selector: Selector = r#"{service="a' OR 1", version!="2", host=~"w.*", pid="'"}"#.parse().unwrap();
        let values = [None, None, Some(vec!["web'1".to_owned()]), None];
        let condition = Condition::new(&selector, Some("c'"), window(0, 5), &values);
        assert_eq!(
            condition.rows,
            " AND profile = {profile:String} AND service = {v0:String} AND version != {v1:String} AND host IN {v2:Array(String)} \
             AND series IN (SELECT id FROM series WHERE slot BETWEEN 0 AND 0 AND service = {v0:String} AND labels[{l3:String}] = {v3:String})"
        );
        let query = condition.query("SELECT 1".to_owned());
        let values: Vec<&str> = query.parameters.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["c'", "a' OR 1", "2", "['web\\'1']", "'", "pid"]);
    }
}
