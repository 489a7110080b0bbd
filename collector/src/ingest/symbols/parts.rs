//! The bytes of uploads in parts, on disk, so that they outlive the collector.
//!
//! `DIR/TOKEN.json` says what is sent and by whom, `DIR/TOKEN.part` holds the bytes received. They are not flushed to disk: what
//! a crash of the machine damages is found out when it is converted, and offered again. `DIR/bad` has a line for each object
//! whose symbols could not be converted: the source that they came from, and the build id.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use flamekeeper_profile::BuildId;
use flamekeeper_wire::symbols::SymbolSource;
use serde::{Deserialize, Serialize};

use super::leases::{Token, Upload};

/// Bytes of the list of objects that cannot be converted, beyond which it begins anew.
const MAX_BAD_BYTES: u64 = 16 << 20;

/// The directory of uploads.
#[derive(Debug)]
pub(super) struct Parts(PathBuf);

/// `TOKEN.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    build_id: String,
    agent: String,
    source: SymbolSource,
    total: u64,
}

/// An upload that an earlier collector had begun.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: BuildId,
    pub(super) token: Token,
    pub(super) upload: Upload,
    pub(super) received: u64,
}

impl Parts {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self(directory.to_owned()))
    }

    /// What an earlier collector has left. Files that make no whole upload are removed.
    pub(super) fn found(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            let token = path.file_stem().and_then(|stem| Token::parse(stem.to_str()?));
            match (extension, token) {
                (Some("json"), Some(token)) => match self.read(&token) {
                    Some(upload) => found.push(upload),
                    None => self.remove(&token),
                },
                (Some("part"), Some(token)) if !self.path(&token, "json").exists() => self.remove(&token),
                _ => {}
            }
        }
        Ok(found)
    }

    fn read(&self, token: &Token) -> Option<Found> {
        let written: Written = serde_json::from_slice(&fs::read(self.path(token, "json")).ok()?).ok()?;
        let received = fs::metadata(self.path(token, "part")).ok()?.len();
        let upload = Upload { agent: written.agent.parse().ok()?, source: written.source, total: written.total };
        Some(Found { id: written.build_id.parse().ok()?, token: token.clone(), upload, received })
    }

    /// Makes the files of an upload.
    pub(super) fn begin(&self, id: &BuildId, token: &Token, upload: &Upload) -> io::Result<()> {
        File::create(self.path(token, "part"))?;
        let written = Written { build_id: id.to_string(), agent: upload.agent.to_string(), source: upload.source, total: upload.total };
        fs::write(self.path(token, "json"), serde_json::to_vec(&written)?)
    }

    /// Writes a part. One that is not written whole leaves the file as it was.
    pub(super) fn write(&self, token: &Token, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = File::options().write(true).open(self.path(token, "part"))?;
        file.write_all_at(bytes, offset).or_else(|error| file.set_len(offset).and(Err(error)))
    }

    /// The bytes received.
    pub(super) fn file(&self, token: &Token) -> io::Result<File> {
        File::open(self.path(token, "part"))
    }

    /// Removes the files of an upload.
    pub(super) fn remove(&self, token: &Token) {
        for extension in ["json", "part"] {
            match fs::remove_file(self.path(token, extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, upload = token.as_str(), "what was received of an upload cannot be removed");
                }
                _ => {}
            }
        }
    }

    /// The identity of this directory: made at random once, so that agents know a collector that has lost what it had.
    pub(super) fn identity(&self) -> io::Result<Token> {
        let path = self.0.join("collector-id");
        if let Some(token) = fs::read_to_string(&path).ok().and_then(|text| Token::parse(text.trim())) {
            return Ok(token);
        }
        let token = random_token()?;
        fs::write(path, token.as_str())?;
        Ok(token)
    }

    /// Notes from what source an object came that the store could not convert.
    pub(super) fn note_bad(&self, id: &BuildId, source: SymbolSource) {
        let line = serde_json::to_string(&(source, id.to_string())).map_err(io::Error::other);
        let write = |line: String| {
            let mut file = File::options().append(true).create(true).open(self.0.join("bad"))?;
            file.write_all(format!("{line}\n").as_bytes())
        };
        if let Err(error) = line.and_then(write) {
            tracing::warn!(%error, build_id = %id, "an object that cannot be converted is forgotten at the next start");
        }
    }

    /// What was noted, the newest last; lines that are none are left out. The file is bounded when it is read.
    pub(super) fn bad(&self) -> io::Result<Vec<(BuildId, SymbolSource)>> {
        let path = self.0.join("bad");
        if fs::metadata(&path).is_ok_and(|data| data.len() > MAX_BAD_BYTES) {
            fs::remove_file(&path)?;
        }
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        let read = |line| serde_json::from_str::<(SymbolSource, String)>(line).ok();
        Ok(text.lines().filter_map(read).filter_map(|(source, id)| Some((id.parse().ok()?, source))).collect())
    }

    fn path(&self, token: &Token, extension: &str) -> PathBuf {
        self.0.join(format!("{}.{extension}", token.as_str()))
    }
}

/// A token that nobody can guess.
pub(super) fn random_token() -> io::Result<Token> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact_at(&mut bytes, 0)?;
    Ok(Token::from_bits(u128::from_le_bytes(bytes)))
}
