//! Reading another process's memory. Everything read is hostile: a pointer may lead anywhere, and each read may fail.

use std::os::raw::c_void;

/// Memory of a process, by address. The parsers here take it so that they run on made-up memory in tests too.
pub trait Memory {
    /// Fills the buffer from an address; false when not all of it can be read.
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool;

    /// A 64-bit word.
    fn u64(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes).then(|| u64::from_ne_bytes(bytes))
    }

    /// A 32-bit word.
    fn u32(&self, address: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes).then(|| u32::from_ne_bytes(bytes))
    }

    /// A 16-bit word.
    fn u16(&self, address: u64) -> Option<u16> {
        let mut bytes = [0; 2];
        self.read(address, &mut bytes).then(|| u16::from_ne_bytes(bytes))
    }

    /// A byte.
    fn u8(&self, address: u64) -> Option<u8> {
        let mut bytes = [0; 1];
        self.read(address, &mut bytes).then_some(bytes[0])
    }

    /// A text up to its NUL, of at most 63 bytes.
    fn text(&self, address: u64) -> Option<String> {
        let mut bytes = [0; 64];
        if !self.read(address, &mut bytes) {
            // It may stand at the end of readable memory.
            let to_page_end = usize::try_from(4096 - address % 4096).ok()?.min(bytes.len());
            if !self.read(address, &mut bytes[..to_page_end]) {
                return None;
            }
        }
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}

/// Memory of a running process (`process_vm_readv(2)`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote(pub(crate) u32);

impl Memory for Remote {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let (Ok(pid), Ok(at)) = (libc::pid_t::try_from(self.0), usize::try_from(address)) else { return false };
        let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let remote = libc::iovec { iov_base: at as *mut c_void, iov_len: buffer.len() };
        // SAFETY: the local part is the buffer, borrowed for the call; the remote part is checked by the kernel.
        let length = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
        usize::try_from(length).is_ok_and(|length| length == buffer.len())
    }
}
