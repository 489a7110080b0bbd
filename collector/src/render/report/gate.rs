//! A gate: whether a deploy may go on.

use serde::{Deserialize, Serialize};

use super::show::{digits, percent};
use super::{Report, ReportFunction};

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The part by which a function may grow: 0.05 is 5 %.
    pub fail_above: f64,
    /// Whether too few samples to see such a growth are no pass.
    pub strict: bool,
}

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing grew by more, as far as can be seen.
    Passed,
    /// Something did.
    Failed,
    /// Nothing can be said.
    Unanswered,
}

/// What a gate says, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// What was asked.
    #[serde(flatten)]
    pub gate: Gate,
    /// What it says.
    pub outcome: Outcome,
    /// The functions that grew by more.
    pub failed: Vec<String>,
    /// In words.
    pub text: String,
}

impl Gate {
    /// Looks at a report. A function fails where the lower end of its relative interval is above the limit and its change is beyond chance
    /// over all functions. One that is new has nothing to grow from: it is held against everything that A takes.
    #[must_use]
    pub fn check(self, report: &Report) -> GateResult {
        let (outcome, failed, text) = match unanswerable(report) {
            Some(reason) => (Outcome::Unanswered, Vec::new(), reason),
            None => self.answer(report),
        };
        GateResult { gate: self, outcome, failed, text }
    }

    fn answer(self, report: &Report) -> (Outcome, Vec<String>, String) {
        let limit = percent(self.fail_above);
        let failed: Vec<String> =
            report.regressions.iter().filter(|function| self.fails(function, report.a.total)).map(ReportFunction::title).collect();
        if !failed.is_empty() {
            let text = format!("failed: of {} the whole 95 % interval lies above {limit}", quantity(failed.len()));
            return (Outcome::Failed, failed, text);
        }
        match report.smallest.filter(|smallest| smallest.relative <= self.fail_above) {
            Some(_) => (Outcome::Passed, failed, format!("passed: no function's interval lies above {limit}")),
            None => {
                let outcome = if self.strict { Outcome::Unanswered } else { Outcome::Passed };
                let word = if self.strict { "not answered" } else { "passed" };
                (outcome, failed, format!("{word}: no function's interval lies above {limit}; but {}", self.too_few(report)))
            }
        }
    }

    fn fails(self, function: &ReportFunction, total: f64) -> bool {
        match function.verdict.as_str() {
            "new" => total > 0.0 && function.low.is_some_and(|low| low > self.fail_above * total),
            _ => function.relative_low.is_some_and(|low| low > self.fail_above),
        }
    }

    /// How many more samples would do. An interval is as wide as the inverse of the root of their number, where hosts are alike.
    fn too_few(self, report: &Report) -> String {
        let limit = percent(self.fail_above);
        let more = report.smallest.map(|smallest| (smallest.relative / self.fail_above.max(1e-6)).powi(2));
        let told = more.map_or_else(String::new, |more| format!(", which takes about {} times as many", digits(more)));
        format!("a growth of {limit} in a function that takes 5 % of A would not have been seen with these samples{told}")
    }
}

fn unanswerable(report: &Report) -> Option<String> {
    let empty = [("A", &report.a), ("B", &report.b)].into_iter().find(|(_, side)| side.samples == 0);
    match empty {
        Some((_, side)) if side.total > 0.0 => Some("not answered: this type does not count samples".to_owned()),
        Some((name, side)) => Some(format!("not answered: {name} has no samples ({})", side.query)),
        None if report.tested == 0 => Some("not answered: no function has enough samples".to_owned()),
        None => None,
    }
}

fn quantity(count: usize) -> String {
    if count == 1 { "1 function".to_owned() } else { format!("{count} functions") }
}

#[cfg(test)]
mod tests {
    use super::super::{ReportSide, Smallest};
    use super::*;

    fn grown(name: &str, low: f64) -> ReportFunction {
        ReportFunction { name: name.into(), verdict: "grew".into(), relative_low: Some(low), ..ReportFunction::default() }
    }

    fn report(regressions: Vec<ReportFunction>, seen: f64) -> Report {
        let side = ReportSide { samples: 1000, total: 2.0, ..ReportSide::default() };
        let smallest = Some(Smallest { change: 0.1, relative: seen });
        Report { a: side.clone(), b: side, tested: 9, regressions, smallest, ..Report::default() }
    }

    /// Only an interval that lies above the limit as a whole fails, and few samples are told, or are no answer where that is asked.
    #[test]
    fn fails_above_the_lower_end() {
        let gate = Gate { fail_above: 0.05, strict: false };
        let found = gate.check(&report(vec![grown("much", 0.06), grown("little", 0.05)], 0.04));
        assert_eq!((found.outcome, found.failed), (Outcome::Failed, vec!["much".to_owned()]));
        let passed = gate.check(&report(vec![grown("little", 0.049)], 0.04));
        assert_eq!((passed.outcome, passed.failed.len()), (Outcome::Passed, 0));
        let few = gate.check(&report(Vec::new(), 0.5));
        assert!(few.outcome == Outcome::Passed && few.text.contains("about 100 times as many"), "{few:?}");
        assert_eq!(Gate { strict: true, ..gate }.check(&report(Vec::new(), 0.5)).outcome, Outcome::Unanswered);
    }

    /// What is new is held against all of A; no samples are no answer.
    #[test]
    fn new_functions_and_no_samples() {
        let gate = Gate { fail_above: 0.05, strict: false };
        let new = |low: f64| ReportFunction { verdict: "new".into(), low: Some(low), relative_low: Some(40.0), ..grown("new", 0.0) };
        assert_eq!(gate.check(&report(vec![new(0.09)], 0.04)).outcome, Outcome::Passed);
        assert_eq!(gate.check(&report(vec![new(0.11)], 0.04)).outcome, Outcome::Failed);
        let mut empty = report(vec![grown("much", 1.0)], 0.04);
        (empty.b.samples, empty.b.total) = (0, 0.0);
        assert_eq!(gate.check(&empty).outcome, Outcome::Unanswered);
    }
}
