//! The `bpf(2)` calls that are needed: making maps, loading a program, keeping a map's entries.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE: libc::c_long = 2;
const MAP_DELETE: libc::c_long = 3;
const PROGRAM_LOAD: libc::c_long = 5;
/// `BPF_PROG_TYPE_PERF_EVENT`: runs at each sample of a perf event and says whether it is kept.
const PROGRAM_PERF_EVENT: u32 = 7;

/// Kind of a map (`enum bpf_map_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum MapKind {
    /// Any key.
    Hash = 1,
    /// Number to program, for tail calls.
    Programs = 3,
    /// CPU number to perf event.
    PerfEventArray = 4,
    /// A value for each CPU.
    PerCpuArray = 6,
}

/// `union bpf_attr` for `BPF_MAP_CREATE`; what follows in newer kernels is zero.
#[repr(C)]
struct CreateMap {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// `union bpf_attr` for the calls on elements. The kernel wants the pointers 8-byte aligned.
#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` for `BPF_PROG_LOAD`, up to what Linux 4.17 has.
#[repr(C)]
struct LoadProgram {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// A map of the kernel.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
}

impl Map {
    /// Makes a map.
    pub(crate) fn create(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> io::Result<Self> {
        let mut attributes = CreateMap { kind: kind as u32, key_size, value_size, max_entries };
        // SAFETY: the attributes hold no pointers.
        let fd = unsafe { call(MAP_CREATE, &mut attributes) }?;
        Ok(Self { fd: owned(fd)?, key_size: key_size as usize, value_size: value_size as usize })
    }

    /// The descriptor, for a program's instructions.
    pub(crate) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Sets an entry.
    pub(crate) fn set(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.element(MAP_UPDATE, key, Some(value))
    }

    /// Removes an entry; `ENOENT` where there is none.
    pub(crate) fn remove(&self, key: &[u8]) -> io::Result<()> {
        self.element(MAP_DELETE, key, None)
    }

    fn element(&self, command: libc::c_long, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        if key.len() != self.key_size || value.is_some_and(|value| value.len() != self.value_size) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let value = value.map_or(0, |value| value.as_ptr() as u64);
        let map = self.raw().cast_unsigned();
        let mut attributes = Element { map, padding: 0, key: key.as_ptr() as u64, value, flags: 0 };
        // SAFETY: key and value are borrowed for the call and of the sizes that the map was made with (just checked), which
        // is what the kernel reads through the pointers.
        unsafe { call(command, &mut attributes) }.map(|_| ())
    }
}

/// Loads a program for perf events.
pub(crate) fn load(instructions: &[u64], name: &str) -> io::Result<OwnedFd> {
    let mut fixed = [0; 16];
    // One byte is left for the terminator.
    fixed.iter_mut().take(15).zip(name.bytes()).for_each(|(to, from)| *to = from);
    let mut attributes = LoadProgram {
        kind: PROGRAM_PERF_EVENT,
        instruction_count: u32::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        instructions: instructions.as_ptr() as u64,
        // The kernel offers the helper that reads user memory to programs under its own licence; the program is a few
        // instructions of our own.
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: fixed,
    };
    // SAFETY: the instructions (with their count) and the licence outlive the call, which only reads them.
    let fd = unsafe { call(PROGRAM_LOAD, &mut attributes) }?;
    owned(fd)
}

/// # Safety
/// Every pointer in the attributes must be valid for what the command does through it.
unsafe fn call<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the pointer and the size are those of the attributes; the pointers in them are the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made this descriptor (close-on-exec, as all of bpf(2)) and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
