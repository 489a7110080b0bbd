//! The vdso: an object that the kernel maps into every process and that lies in no file (`vdso(7)`).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;

use crate::process::file::Files;
use crate::process::maps::Backing;
use crate::process::scan;

/// The name that it goes by.
pub(crate) const NAME: &str = "[vdso]";
/// More than any kernel's vdso takes.
const MAX_BYTES: u64 = 1 << 20;

/// A file in memory with the vdso's bytes, as this very process has them: the same in all processes of this architecture.
/// So it can be read, and its symbols be uploaded, like any other object.
pub(crate) fn file() -> Option<File> {
    let scanned = scan::read(std::process::id(), &mut Files::default())?;
    let vdso = scanned.maps.iter().find(|mapping| matches!(mapping.backing, Backing::Vdso))?;
    let length = (vdso.end.0 - vdso.start.0).min(MAX_BYTES);
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut bytes, vdso.start.0).ok()?;
    let mut file = memory_file().ok()?;
    file.write_all(&bytes).ok()?;
    Some(file)
}

fn memory_file() -> io::Result<File> {
    // SAFETY: the name is a NUL-terminated literal; the result is checked before it is used.
    let fd = unsafe { libc::memfd_create(c"flamekeeper-vdso".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: memfd_create has just returned this descriptor and nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use flamekeeper_object::{ObjectFile, SymbolsPresent};

    use super::*;

    /// The vdso is a whole object with a build id, symbols and unwind information.
    #[test]
    fn is_an_object() {
        let object = ObjectFile::from_file(&file().unwrap()).unwrap();
        assert!(object.build_id().is_some() && object.section(".eh_frame").is_some());
        assert!(object.has_symbols() >= SymbolsPresent::DynamicOnly);
    }
}
