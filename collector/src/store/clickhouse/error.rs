//! What a ClickHouse server refused, or why it could not be asked.

use flamekeeper_transport::{ClientError, ExchangeError};

use super::rowbinary::Damaged;
use crate::store::StoreError;
use crate::watch::Stopped;

/// Characters of a server's message that are kept: it may hold a whole query.
const MAX_MESSAGE: usize = 300;

/// Why a request to the server has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClickHouseError {
    /// It could not be reached, or did not answer in time.
    #[error("ClickHouse cannot be asked: {0}")]
    Request(#[from] ExchangeError),
    /// No secure connection to it can be set up.
    #[error("ClickHouse cannot be asked: {0}")]
    Client(#[from] ClientError),
    /// Its address is none.
    #[error("{0:?} is no address of a ClickHouse server")]
    Address(String),
    /// It answered with an exception.
    #[error("ClickHouse refused (code {code}): {message}")]
    Exception {
        /// Its number of the exception; 0 where none was sent.
        code: u32,
        /// Its words, shortened.
        message: String,
    },
    /// Nobody waits for the answer, or it took too long: the server was told to end.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The answer is longer than the cap.
    #[error("ClickHouse's answer has more than {0} bytes; narrow the window or the selector")]
    TooLarge(usize),
    /// The password cannot be sent in a header.
    #[error("the user or password of ClickHouse has characters that an HTTP header cannot carry")]
    Credentials,
    /// The thread that waits for answers could not be started.
    #[error("cannot start what waits for ClickHouse's answers: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Exceptions of the server that are handled: its `ErrorCodes.cpp`.
pub(super) const UNKNOWN_TABLE: u32 = 60;
pub(super) const UNKNOWN_DATABASE: u32 = 81;

impl ClickHouseError {
    /// An exception as the server words it: `Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE) (version ...)`.
    pub(super) fn exception(code: Option<u32>, text: &str) -> Self {
        let line = text.trim();
        let line = line.split(" (version ").next().unwrap_or_default();
        let (said, rest) = match line.strip_prefix("Code: ").and_then(|rest| rest.split_once(". ")) {
            Some((number, rest)) => (number.parse().ok(), rest.strip_prefix("DB::Exception: ").unwrap_or(rest)),
            None => (None, line),
        };
        let mut message: String = rest.chars().take(MAX_MESSAGE).collect();
        if message.len() < rest.len() {
            message.push('…');
        }
        Self::Exception { code: code.or(said).unwrap_or(0), message }
    }

    /// Whether the schema is not there.
    pub(super) const fn is_missing(&self) -> bool {
        matches!(self, Self::Exception { code: UNKNOWN_TABLE | UNKNOWN_DATABASE, .. })
    }

    /// As an error of the store, while it was doing something.
    pub(super) fn while_doing(self, what: &'static str) -> StoreError {
        StoreError::Engine { what, source: Box::new(self) }
    }
}

/// An answer that is not what was asked for.
pub(super) fn damaged(what: &'static str) -> impl Fn(Damaged) -> StoreError {
    move |_| StoreError::Corrupt { what: format!("ClickHouse's answer about {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code and words are taken out of the server's text, which is cut where it is long.
    #[test]
    fn exceptions_are_shortened() {
        let text = "Code: 60. DB::Exception: Table a.b does not exist. (UNKNOWN_TABLE) (version 26.9.2.1)\n";
        let error = ClickHouseError::exception(None, text);
        assert!(error.is_missing());
        assert_eq!(error.to_string(), "ClickHouse refused (code 60): Table a.b does not exist. (UNKNOWN_TABLE)");
        let long = ClickHouseError::exception(Some(241), &"é".repeat(1000)).to_string();
        assert!(long.starts_with("ClickHouse refused (code 241): é") && long.ends_with('…') && long.chars().count() < 350, "{long}");
    }
}
