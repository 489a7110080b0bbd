//! The identity of an object file.

use std::fmt;
use std::str::FromStr;

/// Where a build id comes from.
///
/// The three kinds are those of the OpenTelemetry semantic conventions
/// (`process.executable.build_id.{gnu,go,htlhash}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuildIdKind {
    /// The note `NT_GNU_BUILD_ID` of the linker.
    Gnu,
    /// The text of Go's own note (`.note.go.buildid`).
    Go,
    /// A hash of the file's head, tail and length, for files without a note: the first 16 bytes of SHA-256 over the
    /// first 4096 bytes, the last 4096 bytes and the length as big endian `u64`.
    Htlhash,
}

impl BuildIdKind {
    /// The kind's name, as in the attribute `process.executable.build_id.NAME`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gnu => "gnu",
            Self::Go => "go",
            Self::Htlhash => "htlhash",
        }
    }
}

/// The identity of an object file: a kind and its bytes, at most [`BuildId::MAX_LEN`] of them.
///
/// Its text form is `kind:hex`, for Go `go:hex of the note's text`. The text form holds no character that is special
/// in a path or a URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId {
    kind: BuildIdKind,
    bytes: Box<[u8]>,
}

/// A text or byte string that is no build id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseBuildIdError {
    /// There is no known `kind:` at its start.
    #[error("build id must start with gnu:, go: or htlhash:")]
    Kind,
    /// What follows the kind is not an even number of hexadecimal digits.
    #[error("build id must be hexadecimal digits after its kind")]
    Hex,
    /// It is empty or longer than [`BuildId::MAX_LEN`] bytes.
    #[error("build id must be 1 to {max} bytes long, this one is {0}", max = BuildId::MAX_LEN)]
    Length(usize),
}

impl BuildId {
    /// The greatest length in bytes: with an ending, its hexadecimal digits are still a file name (255 bytes). GNU ids are 8 to 32, Go's text
    /// about 83. An object that states a longer one is known by its hash.
    pub const MAX_LEN: usize = 120;

    /// A build id of these bytes.
    ///
    /// # Errors
    /// [`ParseBuildIdError::Length`] when empty or too long.
    pub fn new(kind: BuildIdKind, bytes: &[u8]) -> Result<Self, ParseBuildIdError> {
        if bytes.is_empty() || bytes.len() > Self::MAX_LEN {
            return Err(ParseBuildIdError::Length(bytes.len()));
        }
        Ok(Self { kind, bytes: bytes.into() })
    }

    /// Parses hexadecimal digits, as they stand in an attribute or in debuginfod's paths.
    ///
    /// # Errors
    /// [`ParseBuildIdError`] says what is wrong with the text.
    pub fn from_hex(kind: BuildIdKind, hex: &str) -> Result<Self, ParseBuildIdError> {
        let digits = hex.as_bytes();
        if !digits.len().is_multiple_of(2) {
            return Err(ParseBuildIdError::Hex);
        }
        let bytes: Option<Vec<u8>> = digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect();
        Self::new(kind, &bytes.ok_or(ParseBuildIdError::Hex)?)
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> BuildIdKind {
        self.kind
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes as lower-case hexadecimal digits, without the kind.
    #[must_use]
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.bytes.iter().fold(String::with_capacity(self.bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            _ = write!(text, "{byte:02x}");
            text
        })
    }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.hex())
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BuildId {
    type Err = ParseBuildIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, hex) = text.split_once(':').ok_or(ParseBuildIdError::Kind)?;
        let kind = match kind {
            "gnu" => BuildIdKind::Gnu,
            "go" => BuildIdKind::Go,
            "htlhash" => BuildIdKind::Htlhash,
            _ => return Err(ParseBuildIdError::Kind),
        };
        Self::from_hex(kind, hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text form reads back as the same id, and what is not one is refused by name.
    #[test]
    fn text_form_round_trips() {
        let id = BuildId::new(BuildIdKind::Gnu, &[0xab, 0x01]).unwrap();
        assert_eq!(id.to_string(), "gnu:ab01");
        assert_eq!("gnu:AB01".parse::<BuildId>().unwrap(), id);
        assert_eq!("ab01".parse::<BuildId>(), Err(ParseBuildIdError::Kind));
        assert_eq!("gnu:ab0".parse::<BuildId>(), Err(ParseBuildIdError::Hex));
        assert_eq!("gnu:+1".parse::<BuildId>(), Err(ParseBuildIdError::Hex));
        assert_eq!("gnu:".parse::<BuildId>(), Err(ParseBuildIdError::Length(0)));
        assert_eq!("gnu:éé".parse::<BuildId>(), Err(ParseBuildIdError::Hex));
    }
}
