//! The identity of a batch, by which the collector knows a repeated one.

use std::fmt;
use std::str::FromStr;

/// The identity of an agent: made once at random, kept in its state directory. 1 to 64 of `a-z`, `0-9` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(Box<str>);

/// The identity of a batch: the agent and a number that it never uses twice. Its text form is `AGENT-SEQUENCE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId {
    /// The sender.
    pub agent: AgentId,
    /// Grows by one from batch to batch.
    pub sequence: u64,
}

/// A text that is no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseBatchIdError {
    /// The agent's part breaks its rule.
    #[error("an agent id is 1 to 64 of the characters a-z, 0-9 and _")]
    Agent,
    /// There is no `-` with a whole number after it.
    #[error("a batch id is an agent id, a hyphen and a whole number")]
    Sequence,
}

impl AgentId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentId {
    type Err = ParseBatchIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) { Ok(Self(text.into())) } else { Err(ParseBatchIdError::Agent) }
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BatchId {
    type Err = ParseBatchIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (agent, sequence) = text.rsplit_once('-').ok_or(ParseBatchIdError::Sequence)?;
        let digits = !sequence.is_empty() && sequence.bytes().all(|byte| byte.is_ascii_digit());
        let sequence = sequence.parse().ok().filter(|_| digits).ok_or(ParseBatchIdError::Sequence)?;
        Ok(Self { agent: agent.parse()?, sequence })
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.agent, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text form reads back, and what could be a path or a second header is refused.
    #[test]
    fn text_form_round_trips() {
        let id: BatchId = "host_1-42".parse().unwrap();
        assert_eq!((id.agent.as_str(), id.sequence, id.to_string().as_str()), ("host_1", 42, "host_1-42"));
        for bad in ["", "-1", "a-", "a-+1", "A-1", "../x-1", "a\n-1", "a-99999999999999999999"] {
            assert!(bad.parse::<BatchId>().is_err(), "{bad:?}");
        }
    }
}
