//! Reading another process's memory.

/// Reads memory of a process at an address into the buffer; none where it cannot be read as a whole.
pub(crate) fn read(pid: u32, address: u64, into: &mut [u8]) -> Option<()> {
    if into.is_empty() {
        return Some(());
    }
    let pid = i32::try_from(pid).ok()?;
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: usize::try_from(address).ok()? as *mut _, iov_len: into.len() };
    // SAFETY: the local vector is a buffer borrowed for the call; the remote address is looked up by the kernel in the other
    // process and read only.
    let count = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(count).ok().filter(|count| *count == into.len()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory that is there is read; memory that is not, is not.
    #[test]
    fn reads_memory() {
        let text = *b"what stands here";
        let mut copy = [0; 16];
        read(std::process::id(), text.as_ptr() as u64, &mut copy).unwrap();
        assert_eq!(copy, text);
        assert!(read(std::process::id(), 8, &mut copy).is_none());
    }
}
