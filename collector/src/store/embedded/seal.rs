//! What the files of a store were when the program ended, so that what somebody else did to them in between is told.
//!
//! The engine checks its blocks as it reads them, but what follows a damaged or missing place of a journal looks to it like the end of the journal, as
//! a crash leaves it: it would cut acknowledged batches off without a word. So when a store is closed in order, the paths, lengths and, for journals, checksums of its files are
//! written into a file of their own. It is compared and removed before the store is opened. After a crash there is none.
//!
//! The file `sealed` holds a line for each file, by its path: length, CRC-32 of a journal or `-`, path below the store's directory; the last
//! line is `end`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const NAME: &str = "sealed";
const END: &str = "end";
/// The engine's, which it holds an exclusive lock on.
const LOCK: &str = "lock";
/// What the name of a journal ends with.
const JOURNAL: &str = "jnl";
const BLOCK: usize = 64 << 10;

/// Writes the seal when it is dropped, which must be after everything else of the store was.
#[derive(Debug)]
pub(super) struct Seal {
    folder: PathBuf,
    /// Whether what is on disk is what the store believes.
    trusted: AtomicBool,
}

/// The length of a file and, where it is a journal, its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    len: u64,
    crc: Option<u32>,
}

type Files = BTreeMap<String, State>;

impl Seal {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), trusted: AtomicBool::new(true) }
    }

    /// Says that the disk refused something: then no seal is written.
    pub(super) fn distrust(&self) {
        self.trusted.store(false, Ordering::Relaxed);
    }

    fn write(&self) -> io::Result<()> {
        // Somebody may still read from the store, who has the engine open; it would go on changing files.
        let lock = File::open(self.folder.join(LOCK))?;
        if lock.try_lock().is_err() {
            return Ok(());
        }
        let mut text = String::new();
        for (path, State { len, crc }) in files(&self.folder)? {
            let crc = crc.map_or_else(|| "-".to_owned(), |crc| format!("{crc:08x}"));
            text += &format!("{len} {crc} {path}\n");
        }
        text += END;
        let new = self.folder.join("sealed.new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(new, self.folder.join(NAME))?;
        File::open(&self.folder)?.sync_all()
    }
}

impl Drop for Seal {
    fn drop(&mut self) {
        if self.trusted.load(Ordering::Relaxed)
            && let Err(error) = self.write()
        {
            tracing::warn!(%error, "the store could not be sealed: damage to its files may stay unseen when it is opened again");
        }
    }
}

/// What is not as it was when the store was closed, in words; nothing where there is no seal.
///
/// # Errors
/// Where the files cannot be read.
pub(super) fn broken(folder: &Path) -> io::Result<Vec<String>> {
    let sealed = match std::fs::read_to_string(folder.join(NAME)) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
        Err(error) => return Err(error),
    };
    let Some(sealed) = sealed else { return Ok(vec![format!("{NAME} cannot be read")]) };
    let mut found = files(folder)?;
    let mut broken = Vec::new();
    for (path, was) in sealed {
        match found.remove(&path) {
            None => broken.push(format!("{path} is gone")),
            Some(is) if is.len != was.len => broken.push(format!("{path} has {} bytes and had {}", is.len, was.len)),
            Some(is) if is != was => broken.push(format!("{path} was changed")),
            Some(_) => {}
        }
    }
    broken.extend(found.into_keys().map(|path| format!("{path} was not there")));
    Ok(broken)
}

/// Ends the seal, durably: from now on files change.
///
/// # Errors
/// Where the disk refuses.
pub(super) fn open(folder: &Path) -> io::Result<()> {
    match std::fs::remove_file(folder.join(NAME)) {
        Ok(()) => File::open(folder)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a seal says; none where it is damaged itself.
fn parse(text: &str) -> Option<Files> {
    let mut files = Files::new();
    let mut lines = text.lines();
    loop {
        let line = lines.next()?;
        if line == END {
            return Some(files);
        }
        let (len, rest) = line.split_once(' ')?;
        let (crc, path) = rest.split_once(' ')?;
        let crc = if crc == "-" { None } else { Some(u32::from_str_radix(crc, 16).ok()?) };
        files.insert(path.to_owned(), State { len: len.parse().ok()?, crc });
    }
}

/// All files of a store but the seal and the lock.
fn files(folder: &Path) -> io::Result<Files> {
    let (mut files, mut folders) = (Files::new(), vec![folder.to_owned()]);
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(inner)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            if [NAME, LOCK].contains(&&*name) {
                continue;
            }
            let crc = if path.extension().is_some_and(|extension| extension == JOURNAL) { Some(checksum(&path)?) } else { None };
            files.insert(name, State { len: entry.metadata()?.len(), crc });
        }
    }
    Ok(files)
}

/// The checksum of the blocks that are not zeros alone, with their places. The engine makes a journal's file long before it is full; what is not
/// written yet, and takes no room on the disk, is passed over, and is the same in a copy where it does.
fn checksum(path: &Path) -> io::Result<u32> {
    let (file, mut crc, mut block) = (File::open(path)?, flate2::Crc::new(), vec![0; BLOCK]);
    let mut at = 0;
    loop {
        // lseek(2): ENXIO where there is no more data.
        match rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => at = data / BLOCK as u64 * BLOCK as u64,
            Err(rustix::io::Errno::NXIO) => return Ok(crc.sum()),
            Err(_) => {}
        }
        let len = read_block(&file, at, &mut block)?;
        if len == 0 {
            return Ok(crc.sum());
        }
        if block[..len].iter().any(|byte| *byte != 0) {
            crc.update(&at.to_le_bytes());
            crc.update(&block[..len]);
        }
        at += len as u64;
    }
}

/// As much of a block as the file has.
fn read_block(file: &File, at: u64, block: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < block.len() {
        match file.read_at(&mut block[len..], at + len as u64)? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is changed, gone, cut or new is told; what is not is not, nor where there is no seal.
    #[test]
    fn tells_what_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("tables")).unwrap();
        for (name, text) in
            [("lock", ""), ("0.jnl", "abc"), ("1.jnl", "abc"), ("tables/7", "table"), ("tables/8", "table"), ("tables/9", "table")]
        {
            std::fs::write(at(name), text).unwrap();
        }
        assert!(broken(folder.path()).unwrap().is_empty());
        drop(Seal::new(folder.path()));
        assert!(at(NAME).is_file() && broken(folder.path()).unwrap().is_empty());
        // A copy of a journal may hold what was a hole.
        File::options().append(true).open(at("1.jnl")).unwrap().set_len(1 << 20).unwrap();
        drop(Seal::new(folder.path()));
        std::fs::write(at("1.jnl"), [&b"abc"[..], &vec![0; (1 << 20) - 3]].concat()).unwrap();
        assert!(broken(folder.path()).unwrap().is_empty());
        std::fs::write(at("0.jnl"), "abd").unwrap();
        std::fs::write(at("tables/7"), "tab").unwrap();
        std::fs::rename(at("tables/8"), at("tables/10")).unwrap();
        let wanted = ["0.jnl was changed", "tables/7 has 3 bytes and had 5", "tables/8 is gone", "tables/10 was not there"];
        assert_eq!(broken(folder.path()).unwrap(), wanted);
        let whole = std::fs::read_to_string(at(NAME)).unwrap();
        std::fs::write(at(NAME), &whole[..whole.len() / 2]).unwrap();
        assert_eq!(broken(folder.path()).unwrap(), ["sealed cannot be read"]);
        open(folder.path()).unwrap();
        assert!(broken(folder.path()).unwrap().is_empty() && !at(NAME).exists());
        let seal = Seal::new(folder.path());
        seal.distrust();
        drop(seal);
        let lock = File::open(at("lock")).unwrap();
        lock.lock().unwrap();
        drop(Seal::new(folder.path()));
        assert!(!at(NAME).exists());
    }
}
