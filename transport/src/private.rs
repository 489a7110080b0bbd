//! Files with secrets: read only where not everybody else may read them too.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::Stamp;

/// A file with a secret is not larger.
const MAX_BYTES: u64 = 64 << 10;
/// The rights of everybody: to read and to write.
const EVERYBODY: u32 = 0o006;
const EVERYBODY_WRITES: u32 = 0o002;

/// Why a secret is not read.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// It cannot be.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Everybody on this host may read or change it.
    #[error("{path} is open to every user of this host (mode {mode:04o}): take that away (chmod o-rwx {path})", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its rights.
        mode: u32,
    },
    /// It is no plain text file of this size.
    #[error("{} is no file of text of at most 64 KiB", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
    },
}

/// A file's text, which file that was, and whether everybody may read it.
#[derive(Debug)]
pub struct Content {
    /// The text.
    pub text: String,
    /// Which file.
    pub stamp: Stamp,
    /// Why it can be no secret.
    pub open: Option<PrivateError>,
}

/// Reads a file with a secret. Also says which file that was.
///
/// # Errors
/// [`PrivateError`]: also where everybody may read it.
pub fn read(path: &Path) -> Result<(String, Stamp), PrivateError> {
    let Content { text, stamp, open } = read_trusted(path)?;
    open.map_or(Ok((text, stamp)), Err)
}

/// Reads a file that may hold what is no secret: everybody may read it, but not write.
///
/// # Errors
/// As [`read`].
pub fn read_trusted(path: &Path) -> Result<Content, PrivateError> {
    let unreadable = |error| PrivateError::Read { path: path.into(), error };
    // Without waiting: it may be a FIFO.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(unreadable)?;
    let facts = file.metadata().map_err(unreadable)?;
    if !facts.is_file() || facts.len() > MAX_BYTES {
        return Err(PrivateError::NoText { path: path.into() });
    }
    let mode = facts.permissions().mode() & 0o7777;
    let error = PrivateError::Open { path: path.into(), mode };
    if mode & EVERYBODY_WRITES != 0 {
        return Err(error);
    }
    let open = (mode & EVERYBODY != 0).then_some(error);
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| PrivateError::NoText { path: path.into() })?;
    Ok(Content { text, stamp: Stamp::from(&facts), open })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that everybody may read is refused with what to do; a directory and binary data are no secrets.
    #[test]
    fn rights_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "secret\n").unwrap();
        let set = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        for mode in [0o644, 0o604, 0o602] {
            set(mode);
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("chmod o-rwx") && error.contains(path.to_str().unwrap()), "{error}");
        }
        set(0o644);
        assert!(read_trusted(&path).unwrap().open.is_some());
        set(0o646);
        assert!(matches!(read_trusted(&path), Err(PrivateError::Open { mode: 0o646, .. })));
        set(0o640);
        assert_eq!(read(&path).unwrap().0, "secret\n");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(read(&path), Err(PrivateError::NoText { .. })));
        assert!(matches!(read(folder.path()), Err(PrivateError::NoText { .. })));
        assert!(matches!(read(&folder.path().join("nothing")), Err(PrivateError::Read { .. })));
    }
}
