//! What a token lets its bearer do.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// One thing that may be allowed. Every route of the collector needs one of them, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To send profiles, and marks of deploys.
    Ingest,
    /// To ask: the page, the command line, the collector's own figures.
    Read,
    /// To send symbols, which choose the names that people see.
    Symbols,
    /// Everything, also to remove symbols.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Read, Self::Symbols, Self::Admin];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Symbols => "symbols",
            Self::Admin => "admin",
        }
    }
}

/// A text that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected ingest, read, symbols or admin, not {0:?}")]
pub struct ParseScopeError(String);

impl FromStr for Scope {
    type Err = ParseScopeError;

    fn from_str(text: &str) -> Result<Self, ParseScopeError> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text.trim());
        found.ok_or_else(|| ParseScopeError(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether one is allowed; [`Scope::Admin`] allows all.
    #[must_use]
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8 | 1 << Scope::Admin as u8) != 0
    }

    /// Those in the set, as they were given.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & (1 << *scope as u8) != 0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u8))
    }
}

impl fmt::Display for Scopes {
    /// Joined by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Scope::as_str).collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set allows what is in it, and everything where admin is in it.
    #[test]
    fn sets_allow() {
        let agent = Scopes::from_iter([Scope::Ingest, Scope::Symbols]);
        assert!(agent.allow(Scope::Ingest) && agent.allow(Scope::Symbols) && !agent.allow(Scope::Read) && !agent.allow(Scope::Admin));
        assert_eq!(agent.to_string(), "ingest, symbols");
        let admin = Scopes::from_iter([Scope::Admin]);
        assert!(Scope::ALL.into_iter().all(|scope| admin.allow(scope) && !Scopes::default().allow(scope)));
        assert!("reed".parse::<Scope>().unwrap_err().to_string().contains("ingest, read, symbols or admin"));
        assert!(Scope::ALL.into_iter().all(|scope| scope.as_str().parse() == Ok(scope)));
    }
}
