//! Label selectors: `{service="api", version!="1.4", host=~"web-.*"}`.

mod parse;

use std::fmt;
use std::str::FromStr;

use flamekeeper_profile::Labels;
use regex::Regex;

pub use parse::{ParseSelectorError, SelectorLimits};

/// Which series a question is about: all of its matchers must hold. The default selects everything.
///
/// Its text form reads back as the same selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    matchers: Vec<Matcher>,
}

/// A condition on one label. An absent label has the empty value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    label: String,
    condition: Condition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Equal(String),
    NotEqual(String),
    Match(Pattern),
    NotMatch(Pattern),
}

/// A regular expression that the whole value must match, with the text that it was written as.
#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Matcher {
    /// Whether a series with these labels meets the condition.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.takes(labels.get(&self.label))
    }

    /// The label that it looks at.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The value that is compared, and whether it must be equal; none for an expression.
    #[must_use]
    pub fn exact(&self) -> Option<(&str, bool)> {
        match &self.condition {
            Condition::Equal(value) => Some((value, true)),
            Condition::NotEqual(value) => Some((value, false)),
            Condition::Match(_) | Condition::NotMatch(_) => None,
        }
    }

    /// Whether a label of this value meets the condition.
    #[must_use]
    pub fn takes(&self, value: &str) -> bool {
        match &self.condition {
            Condition::Equal(wanted) => value == wanted,
            Condition::NotEqual(unwanted) => value != unwanted,
            Condition::Match(pattern) => pattern.regex.is_match(value),
            Condition::NotMatch(pattern) => !pattern.regex.is_match(value),
        }
    }
}

impl Selector {
    /// The same selection, narrowed to series whose label has exactly this value.
    #[must_use]
    pub fn with_equal(mut self, label: &str, value: &str) -> Self {
        self.matchers.push(Matcher { label: label.into(), condition: Condition::Equal(value.into()) });
        self
    }

    /// The same selection without its conditions on a label.
    #[must_use]
    pub fn without(mut self, label: &str) -> Self {
        self.matchers.retain(|matcher| matcher.label != label);
        self
    }

    /// Whether a series belongs to the selection.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels))
    }

    /// The value that a label must have, where the selection says one with `=`: lets a store look at that part only.
    /// The first one where there are several (then nothing else can match anyway). The empty value means an absent label.
    #[must_use]
    pub fn exact(&self, label: &str) -> Option<&str> {
        self.matchers.iter().find_map(|matcher| match &matcher.condition {
            Condition::Equal(value) if matcher.label == label => Some(value.as_str()),
            _ => None,
        })
    }

    /// The conditions, all of which must hold.
    #[must_use]
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// The labels that the selection looks at. A label that several conditions look at comes as often.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.matchers.iter().map(|matcher| matcher.label.as_str())
    }

    /// Whether everything is selected.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.matchers.is_empty()
    }
}

impl FromStr for Selector {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::selector(text, SelectorLimits::default())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, matcher) in self.matchers.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{matcher}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, value) = match &self.condition {
            Condition::Equal(value) => ("=", value),
            Condition::NotEqual(value) => ("!=", value),
            Condition::Match(pattern) => ("=~", &pattern.text),
            Condition::NotMatch(pattern) => ("!~", &pattern.text),
        };
        write!(f, "{}{operator}\"", self.label)?;
        for character in value.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                other => write!(f, "{other}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Selector {
        text.parse().unwrap()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().fold(Labels::new(), |labels, (name, value)| labels.with(name, value))
    }

    /// Every operator does what the contract says, on present and on absent labels.
    #[test]
    fn operators() {
        let api = labels(&[("service", "api"), ("host", "web-1")]);
        for (selector, expected) in [
            ("", true),
            ("{}", true),
            (r#"{service="api"}"#, true),
            (r#"service="api""#, true),
            (r#"{service="ap"}"#, false),
            (r#"{service!="api"}"#, false),
            (r#"{version!="1.4"}"#, true),
            (r#"{version=""}"#, true),
            (r#"{host=~"web-.*"}"#, true),
            (r#"{host=~"web"}"#, false),
            (r#"{host=~"eb-1"}"#, false),
            (r#"{host=~"db|web-1"}"#, true),
            (r#"{host=~"web|x"}"#, false),
            (r#"{host!~"web-.*"}"#, false),
            (r#"{version=~".*"}"#, true),
            (r#"{version=~".+"}"#, false),
            (r#"{ service = "api" , host =~ "web-[0-9]+" , }"#, true),
            (r#"{service="api",host="web-2"}"#, false),
        ] {
            assert_eq!(parse(selector).matches(&api), expected, "{selector}");
        }
    }

    /// A whole value is matched even where the expression brings its own alternatives, line mode or comment.
    #[test]
    fn expressions_are_anchored() {
        let value = labels(&[("a", "x\nmiddle\ny")]);
        assert!(!parse(r#"a=~"(?m)^middle$""#).matches(&value));
        assert!(parse(r#"a=~"(?s).*middle.*""#).matches(&value));
        assert!(!parse(r#"a=~"x|y""#).matches(&labels(&[("a", "xy")])));
        assert!(parse(r#"a=~"(?x) x y # comment""#).matches(&labels(&[("a", "xy")])));
    }

    /// The text form reads back as the same selector, whatever its values hold.
    #[test]
    fn text_form_round_trips() {
        for text in [
            "{}",
            r#"{service="api"}"#,
            r#"{service="api", version!="1.4", host=~"web-.*", pid!~"1\\d+"}"#,
            r#"{a="quote \" backslash \\ line\n tab\t return\r é 🔥 }"}"#,
        ] {
            let selector = parse(text);
            assert_eq!(selector.to_string(), text);
            assert_eq!(parse(&selector.to_string()), selector);
        }
        assert_eq!(Selector::default().with_equal("a", "\"\\").to_string(), r#"{a="\"\\"}"#);
    }

    /// A store learns of an exact value, and only of one that is required.
    #[test]
    fn exact_values() {
        let selector = parse(r#"{service="api", host=~"a", version!="1"}"#);
        assert_eq!(selector.exact("service"), Some("api"));
        assert_eq!(selector.exact("host"), None);
        assert_eq!(selector.exact("version"), None);
        assert_eq!(selector.labels().collect::<Vec<_>>(), ["service", "host", "version"]);
        assert!(parse("{}").is_empty() && !selector.is_empty());
    }
}
