//! The `bpf(2)` calls that are needed: making maps, loading a program, running one, keeping a map's entries.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP: libc::c_long = 1;
const MAP_UPDATE: libc::c_long = 2;
const MAP_DELETE: libc::c_long = 3;
const PROGRAM_LOAD: libc::c_long = 5;
/// Since Linux 4.12, with an argument (`ctx_in`) since 5.10.
const PROGRAM_RUN: libc::c_long = 10;
/// Since Linux 5.2.
const MAP_FREEZE: libc::c_long = 22;
/// Programs only read the map (`BPF_F_RDONLY_PROG`).
const READ_BY_PROGRAMS: u32 = 1 << 7;

/// Kind of a program (`enum bpf_prog_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum ProgramKind {
    /// Runs at each sample of a perf event and says whether it is kept.
    PerfEvent = 7,
    /// Runs at a tracepoint, or when it is asked to ([`run`]).
    RawTracepoint = 17,
}

/// Kind of a map (`enum bpf_map_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum MapKind {
    /// Any key.
    Hash = 1,
    /// Numbers from zero on.
    Array = 2,
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
    flags: u32,
}

/// `union bpf_attr` for `BPF_MAP_FREEZE`.
#[repr(C)]
struct FreezeMap {
    map: u32,
}

/// `union bpf_attr` for `BPF_PROG_TEST_RUN`, up to what Linux 5.10 has.
#[repr(C)]
struct RunProgram {
    program: u32,
    result: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
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
        Self::create_with(kind, key_size, value_size, max_entries, 0)
    }

    /// Makes an array of one value that is never to change, which is what the kernel wants of texts that helpers read.
    pub(crate) fn constant(value: &[u8]) -> io::Result<Self> {
        let size = u32::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let map = Self::create_with(MapKind::Array, 4, size, 1, READ_BY_PROGRAMS)?;
        map.set(&[0; 4], value)?;
        // SAFETY: the attributes hold no pointers.
        unsafe { call(MAP_FREEZE, &mut FreezeMap { map: map.raw().cast_unsigned() }) }?;
        Ok(map)
    }

    fn create_with(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32, flags: u32) -> io::Result<Self> {
        let mut attributes = CreateMap { kind: kind as u32, key_size, value_size, max_entries, flags };
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
        self.check(key, value)?;
        // SAFETY: the kernel only reads the value (`BPF_MAP_UPDATE_ELEM`).
        unsafe { self.element(MAP_UPDATE, key, value.as_ptr() as u64) }
    }

    /// Copies an entry; `ENOENT` where there is none.
    pub(crate) fn get(&self, key: &[u8], value: &mut [u8]) -> io::Result<()> {
        self.check(key, value)?;
        // SAFETY: the value is borrowed as mutable for the call, and as large as what the kernel writes.
        unsafe { self.element(MAP_LOOKUP, key, value.as_mut_ptr() as u64) }
    }

    /// Removes an entry; `ENOENT` where there is none.
    pub(crate) fn remove(&self, key: &[u8]) -> io::Result<()> {
        if key.len() != self.key_size {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: there is no value.
        unsafe { self.element(MAP_DELETE, key, 0) }
    }

    /// Refuses what is not of the sizes that the map was made with.
    fn check(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let fits = key.len() == self.key_size && value.len() == self.value_size;
        if fits { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// # Safety
    /// The key is as long as the map's keys, and the value's address good for what the command does with it.
    unsafe fn element(&self, command: libc::c_long, key: &[u8], value: u64) -> io::Result<()> {
        let map = self.raw().cast_unsigned();
        let mut attributes = Element { map, padding: 0, key: key.as_ptr() as u64, value, flags: 0 };
        // SAFETY: the key is borrowed for the call; its size and the value are the caller's promise.
        unsafe { call(command, &mut attributes) }.map(|_| ())
    }
}

/// Runs a program of the kind [`ProgramKind::RawTracepoint`] once, here and now, and returns its result.
pub(crate) fn run(program: &OwnedFd, argument: u64) -> io::Result<u32> {
    let mut attributes = RunProgram {
        program: program.as_raw_fd().cast_unsigned(),
        result: 0,
        data_size_in: 0,
        data_size_out: 0,
        data_in: 0,
        data_out: 0,
        repeat: 0,
        duration: 0,
        context_size_in: 8,
        context_size_out: 0,
        context_in: std::ptr::from_ref(&argument) as u64,
        context_out: 0,
        flags: 0,
        cpu: 0,
    };
    // SAFETY: the argument outlives the call, which reads the eight bytes that it has.
    unsafe { call(PROGRAM_RUN, &mut attributes) }?;
    Ok(attributes.result)
}

/// Loads a program.
pub(crate) fn load(kind: ProgramKind, instructions: &[u64], name: &str) -> io::Result<OwnedFd> {
    let mut fixed = [0; 16];
    // One byte is left for the terminator.
    fixed.iter_mut().take(15).zip(name.bytes()).for_each(|(to, from)| *to = from);
    let mut attributes = LoadProgram {
        kind: kind as u32,
        instruction_count: u32::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        instructions: instructions.as_ptr() as u64,
        // The kernel offers the helpers that read user memory and that print names to programs under its own licence; the programs
        // are a few instructions of our own.
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
