//! Bearer tokens: what they look like, and where a program has its own from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use crate::private;
use crate::{PrivateError, Stamp};

/// Letters of a token: fewer could be guessed.
const FEWEST: usize = 32;
const MOST: usize = 512;
/// Random bytes in one that is made here.
const RANDOM: usize = 32;

/// A secret that its bearer shows: 32 to 512 letters of those that RFC 6750 allows. It is never shown in messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A text that is no token. It does not show the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token has {FEWEST} to {MOST} letters of a-z, A-Z, 0-9 and -._~+/=; `flamekeeper token create` makes one")]
pub struct ParseTokenError;

impl Token {
    /// One that nobody can guess.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; RANDOM];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes.iter().fold("fk_".to_owned(), |text, byte| format!("{text}{byte:02x}"))))
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if (FEWEST..=MOST).contains(&text.len()) && text.bytes().all(allowed) { Ok(Self(text.to_owned())) } else { Err(ParseTokenError) }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Why there is no token to show.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its file is not read.
    #[error("there is no token to show to the collector: {0}")]
    File(#[from] PrivateError),
    /// Its file holds none.
    #[error("the first line of {} is no token: {error}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What one is.
        error: ParseTokenError,
    },
}

/// The lines of a file of tokens that say something, with their numbers from 1.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// A program's own token, in a file that is read again when it has changed.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Token)>>,
}

impl TokenFile {
    /// The token in a file, which is not looked at yet.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, read: Mutex::new(None) }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The token as it is now.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn current(&self) -> Result<Token, TokenError> {
        let now = Stamp::of(&self.path);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some((stamp, token)), Some(now)) = (&*read, now)
            && *stamp == now
        {
            return Ok(token.clone());
        }
        *read = None;
        let (text, stamp) = private::read(&self.path)?;
        let line = lines(&text).next().map_or("", |(_, line)| line);
        let token: Token = line.parse().map_err(|error| TokenError::Wrong { path: self.path.clone(), error })?;
        *read = Some((stamp, token.clone()));
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A token that is made is one, differs from the next, and is in no message.
    #[test]
    fn made_and_read() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.reveal().parse(), Ok(one.clone()));
        assert!(!format!("{one:?}").contains(one.reveal()));
        for wrong in ["", "short", &"a".repeat(31), &"a".repeat(513), &format!("{}\n", "a".repeat(40)), &"ä".repeat(20)] {
            assert_eq!(wrong.parse::<Token>(), Err(ParseTokenError), "{wrong}");
        }
    }

    /// A file that changes has another token at once; one that says nothing has none.
    #[test]
    fn exchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = TokenFile::new(path.clone());
        let write = |text: &str| {
            let new = folder.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::rename(&new, &path).unwrap();
        };
        assert!(matches!(file.current(), Err(TokenError::File(_))));
        let [one, other] = ["a", "b"].map(|letter| letter.repeat(40));
        write(&format!("# of the agents\n\n{one}\n"));
        assert_eq!(file.current().unwrap().reveal(), one);
        write(&other);
        assert_eq!(file.current().unwrap().reveal(), other);
        write("nothing");
        let error = file.current().unwrap_err().to_string();
        assert!(error.contains("is no token") && error.contains(path.to_str().unwrap()), "{error}");
    }
}
