//! Which two profiles a collector is asked about.

use anyhow::{Result, bail};
use flamekeeper_collector::query::Generics;
use flamekeeper_collector::query::diff::Normalization;
use flamekeeper_collector::render::Report;
use flamekeeper_collector::selector::Selector;
use serde::Deserialize;

use crate::api::{Collector, Request};

/// The arguments that say what is compared.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Question {
    /// The service
    #[arg(long, short, value_name = "NAME")]
    service: Option<String>,
    /// The version before [default: the one that ran before the other]
    #[arg(long, value_name = "VERSION", requires = "service")]
    from_version: Option<String>,
    /// The version after [default: that of the newest deploy]
    #[arg(long, value_name = "VERSION", requires = "service")]
    to_version: Option<String>,
    /// Start of both windows; where the collector chooses them, how far back it looks for the versions [default: -15m, -7d]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// End of both windows [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// Start of the window before: -1h, 2026-11-24T14:00:00Z or unix seconds [default: that of --from]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from_a: Option<String>,
    /// End of the window before
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to_a: Option<String>,
    /// Start of the window after
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from_b: Option<String>,
    /// End of the window after
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to_b: Option<String>,
    /// Only series whose labels fit, on the side before, such as '{host="web-1"}'
    #[arg(long, value_name = "SELECTOR", conflicts_with = "service")]
    selector_a: Option<String>,
    /// The same on the side after
    #[arg(long, value_name = "SELECTOR", conflicts_with = "service")]
    selector_b: Option<String>,
}

/// One side as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Side {
    query: String,
    from: String,
    to: String,
}

#[derive(Deserialize)]
struct Chosen {
    a: ChosenSide,
    b: ChosenSide,
    why: String,
}

#[derive(Deserialize)]
struct ChosenSide {
    query: String,
    from: f64,
    to: f64,
}

impl Question {
    /// Asks a collector; by the requests that were posted where `by` is none.
    ///
    /// # Errors
    /// When the collector cannot be reached or refuses, or when the arguments do not say what to compare.
    pub(super) fn report(
        &self,
        collector: &Collector,
        profile_type: &str,
        by: Option<Normalization>,
        generics: Generics,
    ) -> Result<Report> {
        let ([a, b], why) = if self.is_named() { (self.named()?, String::new()) } else { self.chosen(collector)? };
        let sides = [
            ("query_a", a.query.as_str()),
            ("from_a", &a.from),
            ("to_a", &a.to),
            ("query_b", &b.query),
            ("from_b", &b.from),
            ("to_b", &b.to),
        ];
        // The tree is not told: one node is the least that can be asked for.
        let rest = [("type", profile_type), ("format", "report"), ("max_nodes", "1"), ("limit", "0")];
        let mut parameters = [&sides[..], &rest].concat();
        let requests =
            if let Some(Normalization::Requests(requests)) = by { requests.map(|count| count.to_string()) } else { Default::default() };
        match by {
            Some(Normalization::Requests(_)) => {
                parameters.extend([("by", "requests"), ("requests_a", requests[0].as_str()), ("requests_b", requests[1].as_str())]);
            }
            Some(other) => parameters.push(("by", other.unit())),
            None => parameters.push(("by", "requests")),
        }
        if generics == Generics::Folded {
            parameters.push(("generics", "fold"));
        }
        let report: Report = collector.read(Request::Get, "/api/v1/diff", &parameters)?;
        Ok(Report { why, ..report })
    }

    /// Whether nothing is given.
    pub(super) fn is_empty(&self) -> bool {
        let others = [&self.service, &self.from_version, &self.to_version, &self.from, &self.to];
        !self.is_named() && others.iter().all(|given| given.is_none())
    }

    /// Whether the sides are named, so that nobody has to choose.
    fn is_named(&self) -> bool {
        [&self.from_a, &self.to_a, &self.from_b, &self.to_b, &self.selector_a, &self.selector_b].iter().any(|given| given.is_some())
    }

    fn named(&self) -> Result<[Side; 2]> {
        let or = |own: &Option<String>, both: &Option<String>, default: &str| {
            own.clone().or_else(|| both.clone()).unwrap_or_else(|| default.to_owned())
        };
        let side = |selector: &Option<String>, version: &Option<String>, from: &Option<String>, to: &Option<String>| Side {
            query: selector.clone().unwrap_or_else(|| self.selector(version.as_deref())),
            from: or(from, &self.from, "-15m"),
            to: or(to, &self.to, "now"),
        };
        let a = side(&self.selector_a, &self.from_version, &self.from_a, &self.to_a);
        let b = side(&self.selector_b, &self.to_version, &self.from_b, &self.to_b);
        if a == b {
            bail!("both sides are the same; give them windows (--from-a, --to-a, --from-b, --to-b), versions or selectors that differ");
        }
        Ok([a, b])
    }

    fn selector(&self, version: Option<&str>) -> String {
        let labels = [("service", self.service.as_deref()), ("version", version)];
        let given = labels.into_iter().filter_map(|(label, value)| Some((label, value?)));
        given.fold(Selector::default(), |selector, (label, value)| selector.with_equal(label, value)).to_string()
    }

    /// The sides that a collector chooses, and why these.
    fn chosen(&self, collector: &Collector) -> Result<([Side; 2], String)> {
        let Some(service) = &self.service else {
            bail!("say what to compare: a service (--service), two selectors (--selector-a, --selector-b), or two windows");
        };
        let given = [("from_version", &self.from_version), ("to_version", &self.to_version), ("from", &self.from), ("to", &self.to)];
        let mut parameters = vec![("service", service.as_str())];
        parameters.extend(given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
        let chosen: Chosen = collector.read(Request::Get, "/api/v1/deploys/compare", &parameters)?;
        let side = |side: ChosenSide| Side { query: side.query, from: side.from.to_string(), to: side.to.to_string() };
        Ok(([side(chosen.a), side(chosen.b)], chosen.why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    /// Each side has its own window and version, and what is given for both where it has none.
    #[test]
    fn named_sides() {
        let question = Question {
            service: some("a\"b"),
            from_version: some("1"),
            to_version: some("2"),
            from: some("-2h"),
            from_b: some("-1h"),
            to_a: some("-1h"),
            ..Question::default()
        };
        let [a, b] = question.named().unwrap();
        assert_eq!((a.query.as_str(), a.from.as_str(), a.to.as_str()), (r#"{service="a\"b", version="1"}"#, "-2h", "-1h"));
        assert_eq!((b.query.as_str(), b.from.as_str(), b.to.as_str()), (r#"{service="a\"b", version="2"}"#, "-1h", "now"));
    }

    /// Two equal sides are a mistake.
    #[test]
    fn equal_sides() {
        let question = Question { selector_a: some("{}"), selector_b: some("{}"), ..Question::default() };
        assert!(question.is_named() && question.named().unwrap_err().to_string().contains("both sides are the same"));
    }
}
