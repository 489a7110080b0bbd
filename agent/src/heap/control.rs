//! Looking at one process's table, and setting its interval: for the command line.

use std::io;
use std::os::unix::fs::FileExt as _;

use flamekeeper_heap::layout::{MAX_SHIFT, at, shift_of};

use crate::heap::find::SharedMemory;
use crate::heap::table::{self, TableError};

/// What a process's table says of its sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// Mean bytes between two samples that were asked for; 0: sampling is off.
    pub wanted: u64,
    /// Those in use: more where the process allocates so much that it takes fewer samples.
    pub interval: u64,
    /// Samples taken.
    pub taken: u64,
    /// Samples whose block is live.
    pub live: u64,
    /// Samples that found no place in the table.
    pub lost_full: u64,
}

/// Why an interval cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// The process has no table that can be opened.
    #[error("it does not sample its heap, or may not be looked at")]
    NoTable,
    /// What it has is no table.
    #[error("its table cannot be used: {0}")]
    Table(String),
    /// The table cannot be written.
    #[error("its table cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// What the table of a process says; none where it has none, or may not be looked at.
#[must_use]
pub fn look(pid: u32) -> Option<TableFacts> {
    let file = SharedMemory::find().table(pid)?;
    let mut bytes = [0; at::END];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let header = table::header(&bytes).ok()?;
    let interval = |shift: u64| if shift == 0 { 0 } else { 1 << shift.min(u64::from(MAX_SHIFT)) };
    Some(TableFacts {
        wanted: interval(header.wanted),
        interval: interval(header.shift),
        taken: header.taken,
        live: header.live,
        lost_full: header.lost_full,
    })
}

/// Sets the mean bytes between two samples of a process that samples, and answers what was set: the nearest power of two, or 0
/// for none.
///
/// # Errors
/// [`SetError`].
pub fn set_interval(pid: u32, bytes: u64) -> Result<u64, SetError> {
    let file = SharedMemory::find().table(pid).ok_or(SetError::NoTable)?;
    let mut head = [0; at::END];
    file.read_exact_at(&mut head, 0)?;
    table::header(&head).map_err(|error: TableError| SetError::Table(error.to_string()))?;
    let shift = shift_of(bytes);
    file.write_all_at(&u64::from(shift).to_ne_bytes(), at::CONTROL as u64)?;
    Ok(if shift == 0 { 0 } else { 1 << shift })
}
