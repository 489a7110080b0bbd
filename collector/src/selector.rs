//! Label selectors: `{service="api", version!="1.4", host=~"web-.*"}`.

use flamekeeper_profile::Labels;

/// Which series a question is about: all of its matchers must hold. The default selects everything.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    matchers: Vec<Matcher>,
}

/// A condition on one label. An absent label has the empty value.
#[derive(Clone, Debug)]
pub struct Matcher {
    label: String,
    condition: Condition,
}

#[derive(Clone, Debug)]
enum Condition {
    Equal(String),
    NotEqual(String),
}

impl Selector {
    /// Whether a series belongs to the selection.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| match &matcher.condition {
            Condition::Equal(value) => labels.get(&matcher.label) == value,
            Condition::NotEqual(value) => labels.get(&matcher.label) != value,
        })
    }
}
