//! The tokens that are known: their hashes, read from files and again when those change.
//!
//! A file has a token on each line, or the hash of one (`sha256:` and 64 hexadecimal digits): several, so that a new token is good
//! before the old one ends. What a file says no more is good no more; so is all of a file that cannot be read. One with nothing but
//! hashes holds no secret, so everybody may read it.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use flamekeeper_transport::private::{self, Content};
use flamekeeper_transport::{ParseTokenError, PrivateError, Scopes, Stamp, Token, token_lines};
use sha2::{Digest as _, Sha256};

use crate::config::{TokenPlace, TokenSource};

/// Tokens in one file.
const MOST: usize = 256;
/// Letters of a text that is hashed: longer ones are no tokens.
const LONGEST: usize = 512;

/// What a line with a hash begins with.
const HASH: &str = "sha256:";

type Hash = [u8; 32];

/// Why tokens cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokensError {
    #[error("the tokens {name:?}: {error}")]
    File { name: String, error: PrivateError },
    #[error("the tokens {name:?}: {path}:{line}: {error} (or sha256: and the 64 digits of a token's hash)", path = path.display())]
    Line { name: String, path: PathBuf, line: usize, error: ParseTokenError },
    #[error("the tokens {name:?}: {path} holds none; `flamekeeper token create` makes one", path = path.display())]
    Empty { name: String, path: PathBuf },
    #[error("the tokens {name:?}: {path} holds more than {MOST}", path = path.display())]
    Many { name: String, path: PathBuf },
    #[error("the tokens {name:?}: this process was given no systemd credentials; LoadCredential={credential}:/path gives it that one")]
    NoCredentials { name: String, credential: String },
}

/// Sources of tokens, with what they held when they were read last.
#[derive(Debug)]
pub(crate) struct Tokens {
    sources: Vec<Source>,
    held: RwLock<Vec<Held>>,
}

#[derive(Debug)]
struct Source {
    name: String,
    path: PathBuf,
    scopes: Scopes,
}

#[derive(Clone, Debug, Default)]
struct Held {
    stamp: Option<Stamp>,
    hashes: Vec<Hash>,
}

impl Tokens {
    /// Reads all.
    ///
    /// # Errors
    /// [`TokensError`] names the file that is of no use.
    pub(crate) fn read(configured: &[TokenSource]) -> Result<Self, TokensError> {
        let sources = configured.iter().map(Source::new).collect::<Result<Vec<_>, _>>()?;
        let held = sources.iter().map(Source::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { sources, held: RwLock::new(held) })
    }

    /// The name and scopes of a token; none where it is not known. Takes the same time for all that are not.
    pub(crate) fn find(&self, token: &str) -> Option<(String, Scopes)> {
        if token.len() > LONGEST {
            return None;
        }
        let hash = hash(token);
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for (source, held) in self.sources.iter().zip(held.iter()) {
            for known in &held.hashes {
                if equal(known, &hash) {
                    found = Some(source);
                }
            }
        }
        found.map(|source| (source.name.clone(), source.scopes))
    }

    /// How many there are.
    pub(crate) fn known(&self) -> usize {
        self.held.read().unwrap_or_else(PoisonError::into_inner).iter().map(|held| held.hashes.len()).sum()
    }

    /// Reads again the files that have changed.
    pub(crate) fn refresh(&self) {
        for (place, source) in self.sources.iter().enumerate() {
            let stamp = Stamp::of(&source.path);
            let known = self.held.read().unwrap_or_else(PoisonError::into_inner).get(place).map(|held| held.stamp);
            if known == Some(stamp) {
                continue;
            }
            let read = source.read().unwrap_or_else(|error| {
                tracing::error!(%error, "tokens cannot be read: whoever has one of them is let in no more");
                Held { stamp, hashes: Vec::new() }
            });
            if !read.hashes.is_empty() {
                tracing::info!(name = source.name, tokens = read.hashes.len(), "tokens have changed");
            }
            if let Some(held) = self.held.write().unwrap_or_else(PoisonError::into_inner).get_mut(place) {
                *held = read;
            }
        }
    }
}

impl Source {
    fn new(configured: &TokenSource) -> Result<Self, TokensError> {
        let TokenSource { name, place, scopes } = configured.clone();
        let path = match place {
            TokenPlace::File(path) => path,
            TokenPlace::Credential(credential) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(directory) => PathBuf::from(directory).join(credential),
                None => return Err(TokensError::NoCredentials { name, credential }),
            },
        };
        Ok(Self { name, path, scopes })
    }

    fn read(&self) -> Result<Held, TokensError> {
        let (name, path) = (|| self.name.clone(), || self.path.clone());
        let Content { text, stamp, open } = private::read_trusted(&self.path).map_err(|error| TokensError::File { name: name(), error })?;
        if let Some(error) = open.filter(|_| token_lines(&text).any(|(_, line)| !line.starts_with(HASH))) {
            return Err(TokensError::File { name: name(), error });
        }
        let mut hashes = Vec::new();
        for (line, text) in token_lines(&text) {
            let hash = parse(text).map_err(|error| TokensError::Line { name: name(), path: path(), line, error })?;
            hashes.push(hash);
        }
        match hashes.len() {
            0 => Err(TokensError::Empty { name: name(), path: path() }),
            1..=MOST => Ok(Held { stamp: Some(stamp), hashes }),
            _ => Err(TokensError::Many { name: name(), path: path() }),
        }
    }
}

/// The hash that a line says, or is of.
fn parse(line: &str) -> Result<Hash, ParseTokenError> {
    let Some(digits) = line.strip_prefix(HASH) else { return line.parse::<Token>().map(|token| hash(token.reveal())) };
    let mut hash = Hash::default();
    if digits.len() != 2 * hash.len() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ParseTokenError);
    }
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * place..2 * place + 2], 16).map_err(|_| ParseTokenError)?;
    }
    Ok(hash)
}

/// The line of a file of tokens that lets the bearer of a token in without telling the token.
pub(crate) fn hash_line(token: &Token) -> String {
    hash(token.reveal()).iter().fold(HASH.to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token).into()
}

/// Whether two hashes are equal, in the same time wherever they differ.
fn equal(one: &Hash, other: &Hash) -> bool {
    black_box(one.iter().zip(other).fold(0, |differences, (one, other)| differences | (one ^ other))) == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use flamekeeper_transport::Scope;

    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    fn source(name: &str, path: &Path, scope: Scope) -> TokenSource {
        TokenSource { name: name.into(), place: TokenPlace::File(path.into()), scopes: Scopes::from_iter([scope]) }
    }

    /// Tokens and hashes of tokens are known by name and scope; what changes is good at once, and what is gone no more.
    #[test]
    fn known_and_exchanged() {
        let folder = tempfile::tempdir().unwrap();
        let [agents, people] = ["agents", "people"].map(|name| folder.path().join(name));
        let [one, two, three] = [(); 3].map(|()| Token::random().unwrap());
        write(&agents, &format!("# both\n{}\n{}\n", one.reveal(), hash_line(&two)), 0o600);
        write(&people, three.reveal(), 0o640);
        let tokens = Tokens::read(&[source("agents", &agents, Scope::Ingest), source("people", &people, Scope::Read)]).unwrap();
        let name = |token: &Token| tokens.find(token.reveal()).map(|(name, scopes)| format!("{name}: {scopes}"));
        for (token, expected) in [(&one, "agents: ingest"), (&two, "agents: ingest"), (&three, "people: read")] {
            assert_eq!(name(token).as_deref(), Some(expected));
        }
        for wrong in ["", &hash_line(&two), &one.reveal()[1..], &"a".repeat(1000)] {
            assert_eq!(tokens.find(wrong), None);
        }
        write(&agents, two.reveal(), 0o600);
        tokens.refresh();
        assert_eq!((name(&one), name(&two).is_some(), tokens.known()), (None, true, 2));
        // A file that everybody may read is as good as none.
        write(&agents, two.reveal(), 0o644);
        std::fs::remove_file(&people).unwrap();
        tokens.refresh();
        assert_eq!((name(&two), name(&three), tokens.known()), (None, None, 0));
        write(&agents, &hash_line(&one), 0o644);
        tokens.refresh();
        assert!(name(&one).is_some());
    }

    /// A file that is of no use says at the start which, where and why.
    #[test]
    fn told_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        let error = || Tokens::read(&[source("agents", &path, Scope::Ingest)]).unwrap_err().to_string();
        assert!(error().contains("agents") && error().contains("cannot read"), "{}", error());
        for (text, mode, expected) in [
            ("# nothing\n", 0o600, "holds none"),
            ("\nshort\n", 0o600, ":2: a token has 32 to 512 letters"),
            ("sha256:00", 0o600, ":1: "),
            ("x", 0o644, "chmod o-rwx"),
        ] {
            write(&path, text, mode);
            assert!(error().contains(expected), "{}", error());
        }
    }
}
