//! System calls, made directly: the C library's wrappers may allocate, be interposed, or set `errno`.
//!
//! On the sampled path: `rt_sigprocmask`, `clock_gettime`, `gettid`, and `sched_yield` where threads wait for each other. When a table is made (at the start of
//! the program, and of each child right after its fork): `memfd_create`, `ftruncate`, `fcntl`, `mmap`, `madvise`, `close`, `prlimit64`, `getpid`.

use core::arch::asm;

pub(crate) const SCHED_YIELD: usize = 24;
const CLOSE: usize = 3;
const MMAP: usize = 9;
const MUNMAP: usize = 11;
const RT_SIGPROCMASK: usize = 14;
const MADVISE: usize = 28;
const GETPID: usize = 39;
const FCNTL: usize = 72;
const FTRUNCATE: usize = 77;
const GETTID: usize = 186;
const CLOCK_GETTIME: usize = 228;
const PRLIMIT64: usize = 302;
const MEMFD_CREATE: usize = 319;

const EFAULT_OR_LESS: isize = -4095;
const EINVAL: isize = -22;

/// Any system call.
///
/// # Safety
/// As that call demands.
pub(crate) unsafe fn call(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the kernel keeps all registers but these, and touches the memory that the caller vouches for.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3],
            in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// All signals are blocked while it lives.
#[derive(Debug)]
pub(crate) struct Quiet(u64);

impl Quiet {
    pub(crate) fn begin() -> Self {
        let (all, mut old) = (u64::MAX, 0u64);
        // SAFETY: both pointers are to live words of the size that is stated; SIG_BLOCK is 0.
        unsafe { call(RT_SIGPROCMASK, [0, &raw const all as usize, &raw mut old as usize, 8, 0, 0]) };
        Self(old)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: the pointer is to a live word; SIG_SETMASK is 2.
        unsafe { call(RT_SIGPROCMASK, [2, &raw const self.0 as usize, 0, 8, 0, 0]) };
    }
}

/// Whether the word at an address can be read. The kernel copies a signal set from there before it finds that what is to be done
/// with it is no operation: `EINVAL` when it could, `EFAULT` when not.
pub(crate) fn is_readable(address: usize) -> bool {
    // SAFETY: 99 is no operation, so nothing is changed; the kernel checks the pointer.
    unsafe { call(RT_SIGPROCMASK, [99, address, 0, 8, 0, 0]) == EINVAL }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) fn monotonic() -> u64 {
    let mut time = [0u64; 2];
    // SAFETY: the pointer is to a live timespec.
    unsafe { call(CLOCK_GETTIME, [1, &raw mut time as usize, 0, 0, 0, 0]) };
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

/// The calling thread's id.
pub(crate) fn thread_id() -> u64 {
    // SAFETY: takes no pointers.
    unsafe { call(GETTID, [0; 6]) as u64 }
}

/// The process's id.
pub(crate) fn process_id() -> u64 {
    // SAFETY: takes no pointers.
    unsafe { call(GETPID, [0; 6]) as u64 }
}

fn is_error(result: isize) -> bool {
    (EFAULT_OR_LESS..0).contains(&result)
}

/// Memory of this process alone that a child finds filled with zeros; none where the kernel cannot do that.
pub(crate) fn wiped_in_children() -> Option<*mut u64> {
    // PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS.
    // SAFETY: a new mapping of its own.
    let page = unsafe { call(MMAP, [0, 4096, 3, 0x22, usize::MAX, 0]) };
    if is_error(page) {
        return None;
    }
    // MADV_WIPEONFORK.
    // SAFETY: the page was mapped right above.
    let advised = unsafe { call(MADVISE, [page as usize, 4096, 18, 0, 0, 0]) };
    (advised == 0).then_some(page as *mut u64)
}

/// A new memfd of a size, mapped and closed, which a child does not inherit; none where that cannot be had.
pub(crate) fn shared_memory(name: &core::ffi::CStr, size: usize) -> Option<*mut u8> {
    let mut limit = [0u64; 2];
    // RLIMIT_FSIZE holds for memfds as well, and to exceed it is a signal.
    // SAFETY: the pointer is to a live rlimit.
    let asked = unsafe { call(PRLIMIT64, [0, 1, 0, &raw mut limit as usize, 0, 0]) };
    if asked != 0 || limit[0] < size as u64 {
        return None;
    }
    // MFD_CLOEXEC | MFD_ALLOW_SEALING, with MFD_NOEXEC_SEAL where the kernel has it.
    // SAFETY: the name is a C string.
    let mut fd = unsafe { call(MEMFD_CREATE, [name.as_ptr() as usize, 1 | 2 | 8, 0, 0, 0, 0]) };
    if fd == EINVAL {
        // SAFETY: the same.
        fd = unsafe { call(MEMFD_CREATE, [name.as_ptr() as usize, 1 | 2, 0, 0, 0, 0]) };
    }
    if is_error(fd) {
        return None;
    }
    let fd = fd as usize;
    // F_ADD_SEALS: F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW.
    // SAFETY: all of them are calls on the new descriptor, and on a new mapping of it.
    let memory = unsafe {
        let sized = call(FTRUNCATE, [fd, size, 0, 0, 0, 0]);
        let sealed = call(FCNTL, [fd, 1033, 1 | 2 | 4, 0, 0, 0]);
        let memory = if sized == 0 && sealed == 0 { call(MMAP, [0, size, 3, 1, fd, 0]) } else { -1 };
        call(CLOSE, [fd, 0, 0, 0, 0, 0]);
        memory
    };
    if is_error(memory) {
        return None;
    }
    // MADV_DONTFORK.
    // SAFETY: the memory was mapped right above.
    if unsafe { call(MADVISE, [memory as usize, size, 10, 0, 0, 0]) } != 0 {
        // SAFETY: the same; nobody knows of it yet.
        unsafe { call(MUNMAP, [memory as usize, size, 0, 0, 0, 0]) };
        return None;
    }
    Some(memory as *mut u8)
}

/// The address of the calling thread's control block.
pub(crate) fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: the first word of the control block is its own address (System V ABI, TLS).
    unsafe { asm!("mov {}, fs:0", out(reg) pointer, options(nostack, readonly, preserves_flags)) };
    pointer
}
