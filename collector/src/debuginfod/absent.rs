//! What no server has, on disk, so that a restart asks nobody again.
//!
//! The file `absent` begins with a line that names the servers which were asked; each further line is a build id and the second of the
//! answer since 1970. It is written again without what is old when it is opened, and grows by a line for each answer meanwhile.
//! Losing its end, or all of it, costs questions and nothing else, so it is not flushed, and what cannot be read is left out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flamekeeper_profile::{BuildId, Timestamp};

/// A longer file is begun anew: some 100,000 answers.
const MAX_BYTES: u64 = 8 << 20;

/// The file, open at its end.
#[derive(Debug)]
pub(super) struct AbsentFile {
    file: File,
    bytes: u64,
    path: PathBuf,
    head: String,
}

impl AbsentFile {
    /// Opens the file of a directory, and tells the answers of the same servers that are younger than `longest`, with their age.
    pub(super) fn open<'a>(
        directory: &Path,
        servers: impl Iterator<Item = &'a str>,
        now: Timestamp,
        longest: Duration,
    ) -> io::Result<(Self, Vec<(BuildId, Duration)>)> {
        let path = directory.join("absent");
        let head = servers.fold("servers".to_owned(), |head, server| head + " " + server) + "\n";
        let known = read(&path, &head, now, longest)?;
        let mut text = head.clone();
        for (id, age) in &known {
            text += &line(id, Timestamp(now.0.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))));
        }
        let part = directory.join("absent.part");
        fs::write(&part, &text)?;
        fs::rename(&part, &path)?;
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok((Self { file, bytes: text.len() as u64, path, head }, known))
    }

    /// Notes that no server has an object.
    pub(super) fn add(&mut self, id: &BuildId, now: Timestamp) -> io::Result<()> {
        let line = line(id, now);
        if self.bytes + line.len() as u64 > MAX_BYTES {
            fs::write(&self.path, &self.head)?;
            self.bytes = self.head.len() as u64;
        }
        self.bytes += line.len() as u64;
        self.file.write_all(line.as_bytes())
    }
}

fn line(id: &BuildId, time: Timestamp) -> String {
    format!("{id} {}\n", time.0 / Timestamp::SECOND)
}

fn read(path: &Path, head: &str, now: Timestamp, longest: Duration) -> io::Result<Vec<(BuildId, Duration)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(parse(&String::from_utf8_lossy(&bytes), head, now, longest))
}

fn parse(text: &str, head: &str, now: Timestamp, longest: Duration) -> Vec<(BuildId, Duration)> {
    // Other servers may have what those had not.
    let Some(lines) = text.strip_prefix(head) else { return Vec::new() };
    let entry = |line: &str| {
        let (id, second) = line.split_once(' ')?;
        // One of the future was noted by a clock that was wrong.
        let age = Duration::from_secs((now.0 / Timestamp::SECOND).checked_sub(second.parse().ok()?)?);
        Some((id.parse().ok()?, age)).filter(|_| age < longest)
    };
    lines.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(second: u64) -> Timestamp {
        Timestamp(second * Timestamp::SECOND)
    }

    fn open(directory: &Path, servers: &[&str], second: u64) -> (AbsentFile, Vec<(BuildId, Duration)>) {
        AbsentFile::open(directory, servers.iter().copied(), at(second), HOUR).unwrap()
    }

    /// Answers are there again until they are old, for the same servers only.
    #[test]
    fn outlives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let [a, b] = ["gnu:0a0b", "gnu:0c0d"].map(|id| id.parse::<BuildId>().unwrap());
        let (mut file, known) = open(directory.path(), &["http://x"], 10_000);
        assert!(known.is_empty());
        file.add(&a, at(10_000)).unwrap();
        file.add(&b, at(12_000)).unwrap();
        let seconds = Duration::from_secs;
        assert_eq!(open(directory.path(), &["http://x"], 12_001).1, [(a, seconds(2001)), (b.clone(), seconds(1))]);
        assert_eq!(open(directory.path(), &["http://x"], 13_600).1, [(b.clone(), seconds(1600))]);
        assert_eq!(open(directory.path(), &["http://x"], 13_600).1, [(b, seconds(1600))], "written again");
        assert!(open(directory.path(), &["http://x", "http://y"], 13_600).1.is_empty());
    }

    /// What is damaged, or of the future, is left out and costs nothing else.
    #[test]
    fn damage_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let text =
            b"servers http://x\ngnu:0a0b 100\n\xff\xfe\ngnu:zz 100\ngnu:0c0d\ngnu:0e0f 99999999999999999999\ngnu:0102 200\ngnu:0304 1";
        std::fs::write(directory.path().join("absent"), text).unwrap();
        let known = open(directory.path(), &["http://x"], 150).1;
        assert_eq!(known.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(), ["gnu:0a0b", "gnu:0304"]);
        std::fs::write(directory.path().join("absent"), b"\0\0\0").unwrap();
        assert!(open(directory.path(), &["http://x"], 150).1.is_empty());
    }
}
