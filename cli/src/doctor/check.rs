//! What was found, and how it is printed.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// Worse than it could be.
    Warning,
    /// Something does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What it is about; the same on every host.
    pub(super) name: &'static str,
    /// How it is.
    pub(super) verdict: Verdict,
    /// What was found.
    pub(super) found: String,
    /// What to do about it, where there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    pub(super) fn warning(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    pub(super) fn problem(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Problem, found: found.into(), advice: Some(advice.into()) }
    }
}

/// All that was looked at, in the order in which it is shown.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) checks: Vec<Check>,
}

impl Report {
    pub(super) fn has_problems(&self) -> bool {
        self.count(Verdict::Problem) > 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    /// One line for each, advice on a line of its own, and the sum.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let verdict = match check.verdict {
                Verdict::Ok => "ok",
                Verdict::Warning => "warning",
                Verdict::Problem => "PROBLEM",
            };
            // Writing to a String cannot fail.
            _ = writeln!(text, "{verdict:<8} {:<14} {}", check.name, check.found);
            if let Some(advice) = &check.advice {
                _ = writeln!(text, "{:<23} -> {advice}", "");
            }
        }
        _ = writeln!(text, "{} problems, {} warnings", self.count(Verdict::Problem), self.count(Verdict::Warning));
        text
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Result<String> {
        let (problems, warnings) = (self.count(Verdict::Problem), self.count(Verdict::Warning));
        let value = serde_json::json!({ "checks": self.checks, "problems": problems, "warnings": warnings });
        Ok(serde_json::to_string_pretty(&value).context("the report cannot be written")? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both forms have every check, advice where there is some, and the sums; only a problem is a problem.
    #[test]
    fn prints() {
        let mut report = Report { checks: vec![Check::ok("a", "fine"), Check::warning("b", "slow", "do this")] };
        assert_eq!(
            report.text(),
            "ok       a              fine\nwarning  b              slow\n                        -> do this\n0 problems, 1 warnings\n"
        );
        assert!(!report.has_problems());
        report.checks.push(Check::problem("c", "broken", "do that"));
        assert!(report.has_problems());
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!((json["problems"].as_u64(), json["warnings"].as_u64()), (Some(1), Some(1)));
        assert_eq!(json["checks"][2], serde_json::json!({"name": "c", "verdict": "problem", "found": "broken", "advice": "do that"}));
        assert_eq!(json["checks"][0].get("advice"), None);
    }
}
