//! Watches which CPUs are online: they come and go while the agent runs.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::perf::cpus;

/// More text than any list of CPUs has that is worth having: 8192 numbers.
const MAX_TEXT: usize = 64 << 10;

/// The kernel's list, held open: reading it anew costs about a microsecond.
#[derive(Debug)]
pub(crate) struct Online {
    file: Option<File>,
    buffer: Vec<u8>,
    seen: Vec<u8>,
}

impl Online {
    /// Opens the list. Where there is none, no CPU is ever seen to come or go.
    pub(crate) fn open() -> Self {
        Self { file: File::open(cpus::ONLINE).ok(), buffer: vec![0; MAX_TEXT], seen: Vec::new() }
    }

    /// The CPUs that are online, when that has changed since it was last asked.
    pub(crate) fn changed(&mut self) -> Option<Vec<usize>> {
        let length = self.file.as_ref()?.read_at(&mut self.buffer, 0).ok()?;
        let text = self.buffer.get(..length).filter(|text| *text != self.seen)?;
        let list = cpus::parse_list(std::str::from_utf8(text).ok()?.trim());
        self.seen = text.to_vec();
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first look tells all, the next tells nothing new.
    #[test]
    fn tells_changes_only() {
        let mut online = Online::open();
        assert_eq!(online.changed(), Some(cpus::online()));
        assert_eq!(online.changed(), None);
    }
}
