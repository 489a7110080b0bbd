//! The OpenTelemetry process context: what a process's SDK says of itself in a mapping that others can find.
//!
//! Source: OTEP 4719. The mapping is a memfd or anonymous memory of the name `OTEL_CTX`, and holds a header that points to
//! the payload. It appears at any time of a process's life, and its content may change. Both are hostile input.

mod header;

use std::io::Read;
use std::ops::ControlFlow;

pub use header::{Found, read};

use crate::process::lines::{self, Line};

/// What its mapping is called.
const NAMES: [&[u8]; 3] = [b"[anon_shmem:OTEL_CTX]", b"[anon:OTEL_CTX]", b"/memfd:OTEL_CTX"];

/// Where a process's context is, if it has one.
pub(super) fn find(pid: u32) -> Option<u64> {
    find_in(lines::open(pid).ok()?)
}

/// The same, in the text of `/proc/PID/maps`.
pub(super) fn find_in(maps: impl Read) -> Option<u64> {
    let mut found = None;
    let take = |line: Line<'_>| {
        let name = line.path.strip_suffix(b" (deleted)").unwrap_or(line.path);
        if !NAMES.contains(&name) {
            return ControlFlow::Continue(());
        }
        found = Some(line.start);
        ControlFlow::Break(())
    };
    // Of what cannot be read nothing is known.
    _ = lines::until(maps, lines::MANY, take);
    found
}

/// Reads a context of a process: see [`read()`].
pub(super) fn read_of(pid: u32, address: u64, known: u64) -> Found {
    read(address, known, &mut |address, to| read_memory(pid, address, to))
}

/// Fills a buffer from another process's memory; says whether it could.
fn read_memory(pid: u32, address: u64, to: &mut [u8]) -> bool {
    let (Ok(pid), Ok(address)) = (i32::try_from(pid), usize::try_from(address)) else { return false };
    let local = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: to.len() };
    // SAFETY: `local` is the caller's buffer, borrowed for the call; the kernel reads `remote` in the other process only.
    let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).is_ok_and(|read| read == to.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mapping is found by each of its names, and by no other.
    #[test]
    fn finds_the_mapping() {
        let line = |name: &str| format!("7f5d3c000000-7f5d3c001000 rw-p 00000000 00:01 3081 {name}\n");
        let other = "55d0a0a00000-55d0a0a21000 rw-p 00000000 00:00 0                          [heap]\n";
        for name in ["[anon_shmem:OTEL_CTX]", "[anon:OTEL_CTX]", "/memfd:OTEL_CTX (deleted)", "/memfd:OTEL_CTX"] {
            assert_eq!(find_in(format!("{other}{}{other}", line(name)).as_bytes()), Some(0x7f5d_3c00_0000), "{name}");
        }
        for name in ["[anon:OTEL_CTXX]", "/tmp/memfd:OTEL_CTX", "OTEL_CTX", ""] {
            assert_eq!(find_in(line(name).as_bytes()), None, "{name}");
        }
        assert_eq!(find_in(&b"zz-1 [anon:OTEL_CTX]"[..]), None);
    }
}
