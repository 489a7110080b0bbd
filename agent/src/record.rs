//! Parser of the records that the kernel writes into a perf ring, of the one layout that this agent asks for.
//!
//! Pure: a record is a byte slice, the result borrows from it, nothing is allocated, no input panics. The layout is that
//! of [`SAMPLE_TYPE`] with `sample_id_all`, user registers [`REGS_USER`]; source: `perf_event_open(2)` and
//! `include/uapi/linux/perf_event.h`, where the fields of `PERF_RECORD_SAMPLE` stand in a fixed order.
//!
//! A thread without user registers (a kernel thread, or one that has already let go of its memory) carries register ABI 0,
//! and then neither registers nor a stack follow, whatever the mask says.

use flamekeeper_profile::{Avma, FileOffset};
use perf_event_open_sys::bindings as sys;

/// The fields of each sample. `PERF_SAMPLE_PERIOD` is left out on purpose: with a fixed period the kernel would then send
/// a sample for every event of a software counter.
pub const SAMPLE_TYPE: u64 = (sys::PERF_SAMPLE_TID
    | sys::PERF_SAMPLE_TIME
    | sys::PERF_SAMPLE_CPU
    | sys::PERF_SAMPLE_CALLCHAIN
    | sys::PERF_SAMPLE_REGS_USER
    | sys::PERF_SAMPLE_STACK_USER) as u64;

/// The field that follows all others in a sample where the kernel can tell it: see [`Sample::cgroup`].
pub const SAMPLE_CGROUP: u64 = sys::PERF_SAMPLE_CGROUP as u64;

/// The user registers that unwinding needs, as a mask of `asm/perf_regs.h`: bp, sp, ip.
#[cfg(target_arch = "x86_64")]
pub const REGS_USER: u64 = 1 << 6 | 1 << 7 | 1 << 8;
/// The user registers that unwinding needs, as a mask of `asm/perf_regs.h`: x29 (frame pointer), lr, sp, pc.
#[cfg(target_arch = "aarch64")]
pub const REGS_USER: u64 = 1 << 29 | 1 << 30 | 1 << 31 | 1 << 32;

const REGS_COUNT: usize = REGS_USER.count_ones() as usize;
/// Size of `struct perf_event_header`.
pub const HEADER_SIZE: usize = 8;
/// The trailer of every record that is no sample: pid, tid, time, cpu, reserved.
const SAMPLE_ID_SIZE: usize = 24;
/// Where the size of BPF's output and the output itself stand in their record.
const INTERPRETER_MARK: usize = HEADER_SIZE + 8 + 8 + 8;
/// Callchain entries at and above this are context markers (`PERF_CONTEXT_MAX` is -4095).
const CONTEXT_MARKERS: u64 = u64::MAX - 4094;
const CONTEXT_KERNEL: u64 = u64::MAX - 127;
/// More callchain entries than the kernel can be told to write (`kernel.perf_event_max_stack` is at most 640 KiB of them,
/// but a record is smaller than that).
const MAX_CALLCHAIN: usize = u16::MAX as usize / 8;

/// More records than a ring can have lost: sums of such counts stay within the 63 bits that they have on the wire.
const MAX_LOST: u64 = 1 << 40;

/// The header of a record (`struct perf_event_header`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// `PERF_RECORD_*`.
    pub kind: u32,
    /// Flags, `PERF_RECORD_MISC_*`.
    pub misc: u16,
    /// Size of the whole record in bytes, header included.
    pub size: u16,
}

impl Header {
    /// The header in its 8 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; HEADER_SIZE]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { kind: u32::from_ne_bytes([a, b, c, d]), misc: u16::from_ne_bytes([e, f]), size: u16::from_ne_bytes([g, h]) }
    }

    /// Where in the record its time stands; none for a record too short to have one.
    #[must_use]
    pub const fn time_offset(self) -> Option<usize> {
        let size = self.size as usize;
        if self.kind == sys::PERF_RECORD_SAMPLE {
            if size >= HEADER_SIZE + 16 { Some(HEADER_SIZE + 8) } else { None }
        } else if size >= HEADER_SIZE + SAMPLE_ID_SIZE {
            Some(size - SAMPLE_ID_SIZE + 8)
        } else {
            None
        }
    }
}

/// When a record was written, in nanoseconds of the monotonic clock; 0 where it does not say.
#[must_use]
pub fn time_of(bytes: &[u8]) -> u64 {
    let time = bytes.first_chunk().and_then(|header| {
        let at = Header::from_bytes(*header).time_offset()?;
        bytes.get(at..).and_then(<[u8]>::first_chunk::<8>)
    });
    time.map_or(0, |time| u64::from_ne_bytes(*time))
}

/// A process and one of its threads, as the reader's pid namespace numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Thread group id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
}

/// The user registers of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRegs {
    /// Instruction pointer.
    pub ip: Avma,
    /// Stack pointer.
    pub sp: Avma,
    /// Frame pointer.
    pub fp: Avma,
    /// Link register; 0 where the architecture has none.
    pub lr: Avma,
}

/// A row of 64-bit words inside a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// The words in order.
    pub fn iter(self) -> impl Iterator<Item = u64> + 'a {
        self.0.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word))
    }
}

/// A sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Who ran.
    pub task: Task,
    /// When, in nanoseconds of the monotonic clock.
    pub time: u64,
    /// On which CPU.
    pub cpu: u32,
    /// The kernel's callchain, leaf first, context markers included: see [`Self::kernel_frames`].
    pub callchain: Words<'a>,
    /// The user registers; none where the thread has no user part.
    pub regs: Option<UserRegs>,
    /// The copy of the user stack: starts at [`UserRegs::sp`], and holds the bytes that could be read.
    pub stack: &'a [u8],
    /// How many bytes of the stack were asked for: a shorter copy ends where the stack does.
    pub stack_asked: usize,
    /// The id of the cgroup that the thread was in, which is the inode of the cgroup's directory; none where the kernel
    /// does not tell it (before 5.7, or built without `CONFIG_CGROUP_PERF`).
    pub cgroup: Option<u64>,
}

impl<'a> Sample<'a> {
    /// The kernel part of the callchain, leaf first; the first address is an instruction pointer, the others are return
    /// addresses.
    pub fn kernel_frames(&self) -> impl Iterator<Item = Avma> + 'a {
        let mut kernel = false;
        self.callchain.iter().filter_map(move |address| {
            if address >= CONTEXT_MARKERS {
                kernel = address == CONTEXT_KERNEL;
                return None;
            }
            kernel.then_some(Avma(address))
        })
    }
}

/// What identifies the file of an [`Mmap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MappedFile<'a> {
    /// Its GNU build id.
    BuildId(&'a [u8]),
    /// Its device and inode; inode 0 is no file.
    Inode {
        /// Major device number.
        major: u32,
        /// Minor device number.
        minor: u32,
        /// Inode.
        inode: u64,
    },
}

/// An executable mapping (`PERF_RECORD_MMAP2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mmap<'a> {
    /// Whose.
    pub task: Task,
    /// Where it starts.
    pub start: Avma,
    /// How long it is, in bytes.
    pub length: u64,
    /// Where in the file it starts.
    pub offset: FileOffset,
    /// Whether it is executable.
    pub executable: bool,
    /// The file.
    pub file: MappedFile<'a>,
    /// Its path in the process's mount namespace, or `//anon`, `[vdso]`, ...; not necessarily UTF-8.
    pub path: &'a [u8],
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A sample.
    Sample(Sample<'a>),
    /// A mapping was made or became executable.
    Mmap(Mmap<'a>),
    /// A thread was named; `exec` tells that it now runs another program.
    Comm {
        /// Who.
        task: Task,
        /// Whether by `execve`.
        exec: bool,
        /// The name; not necessarily UTF-8.
        name: &'a [u8],
    },
    /// A thread was made; a process when its pid is not its parent's.
    Fork {
        /// The new one.
        child: Task,
        /// Who made it.
        parent: Task,
    },
    /// A thread ended.
    Exit {
        /// Which.
        task: Task,
    },
    /// The ring was full: so many records are missing.
    Lost {
        /// How many.
        records: u64,
    },
    /// The kernel stopped an event because it was met too often, or lets it go on.
    Throttle {
        /// Whether it stopped.
        stopped: bool,
        /// On which CPU.
        cpu: u32,
        /// When, in nanoseconds of the monotonic clock.
        time: u64,
    },
    /// A cgroup was made.
    Cgroup {
        /// Its id, as in [`Sample::cgroup`].
        id: u64,
        /// Its path in its hierarchy; not necessarily UTF-8.
        path: &'a [u8],
    },
    /// A thread's Python frames, right before the sample that they belong to: see [`crate::python`].
    Interpreter {
        /// Who ran.
        task: Task,
        /// On which CPU.
        cpu: u32,
        /// What the kernel's side wrote.
        bytes: &'a [u8],
    },
    /// A record of a kind that nobody asked for.
    Other(u32),
}

/// A record that is not what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It ends before a field does.
    #[error("perf record of kind {kind} ends inside a field")]
    Short {
        /// `PERF_RECORD_*`.
        kind: u32,
    },
    /// A count in it cannot be.
    #[error("perf record of kind {kind} counts more than a record can hold")]
    Count {
        /// `PERF_RECORD_*`.
        kind: u32,
    },
}

/// Reads a whole record, header included.
///
/// # Errors
/// [`RecordError`] when a field lies outside the bytes or a count is impossible.
pub fn parse(bytes: &[u8]) -> Result<Record<'_>, RecordError> {
    let header = bytes.first_chunk::<HEADER_SIZE>().copied().map(Header::from_bytes).ok_or(RecordError::Short { kind: 0 })?;
    let mut fields = Fields { kind: header.kind, rest: &bytes[HEADER_SIZE..] };
    match header.kind {
        sys::PERF_RECORD_SAMPLE if is_interpreter(bytes) => interpreter(&mut fields),
        sys::PERF_RECORD_SAMPLE => sample(&mut fields).map(Record::Sample),
        sys::PERF_RECORD_MMAP2 => {
            fields.drop_sample_id()?;
            mmap2(&mut fields, header.misc).map(Record::Mmap)
        }
        sys::PERF_RECORD_COMM => {
            fields.drop_sample_id()?;
            let task = fields.task()?;
            let exec = u32::from(header.misc) & sys::PERF_RECORD_MISC_COMM_EXEC != 0;
            Ok(Record::Comm { task, exec, name: until_nul(fields.rest) })
        }
        sys::PERF_RECORD_FORK | sys::PERF_RECORD_EXIT => fork_or_exit(&mut fields),
        sys::PERF_RECORD_LOST => {
            fields.u64()?;
            lost(&mut fields)
        }
        sys::PERF_RECORD_LOST_SAMPLES => lost(&mut fields),
        sys::PERF_RECORD_THROTTLE | sys::PERF_RECORD_UNTHROTTLE => {
            let (time, cpu) = fields.sample_id()?;
            Ok(Record::Throttle { stopped: header.kind == sys::PERF_RECORD_THROTTLE, cpu, time })
        }
        sys::PERF_RECORD_CGROUP => {
            fields.drop_sample_id()?;
            Ok(Record::Cgroup { id: fields.u64()?, path: until_nul(fields.rest) })
        }
        kind => Ok(Record::Other(kind)),
    }
}

/// Whether a record of kind `PERF_RECORD_SAMPLE` holds the output of BPF. It has the first fields of a sample, then the
/// output's size (32 bits) and the output, which begins with [`python::MAGIC`](crate::python::MAGIC). A sample has the 64-bit
/// length of its callchain there, whose upper half is always 0.
pub(crate) fn is_interpreter(bytes: &[u8]) -> bool {
    bytes.get(INTERPRETER_MARK..).and_then(<[u8]>::first_chunk).is_some_and(|mark| is_interpreter_mark(*mark))
}

/// As [`is_interpreter`], of the eight bytes where a sample's callchain would begin.
pub(crate) fn is_interpreter_mark([_, _, _, _, mark @ ..]: [u8; 8]) -> bool {
    u32::from_ne_bytes(mark) == crate::python::MAGIC
}

fn interpreter<'a>(fields: &mut Fields<'a>) -> Result<Record<'a>, RecordError> {
    let task = fields.task()?;
    fields.u64()?;
    let cpu = fields.u32()?;
    fields.u32()?;
    let size = usize::try_from(fields.u32()?).map_err(|_| RecordError::Count { kind: fields.kind })?;
    Ok(Record::Interpreter { task, cpu, bytes: fields.bytes(size)? })
}

fn sample<'a>(fields: &mut Fields<'a>) -> Result<Sample<'a>, RecordError> {
    let head = sample_head(fields)?;
    sample_rest(fields, head)
}

/// Who, when, and on which CPU.
fn sample_head(fields: &mut Fields<'_>) -> Result<(Task, u64, u32), RecordError> {
    let task = fields.task()?;
    let time = fields.u64()?;
    let cpu = fields.u32()?;
    fields.u32()?;
    Ok((task, time, cpu))
}

fn sample_rest<'a>(fields: &mut Fields<'a>, (task, time, cpu): (Task, u64, u32)) -> Result<Sample<'a>, RecordError> {
    let entries = usize::try_from(fields.u64()?).ok().filter(|entries| *entries <= MAX_CALLCHAIN);
    let callchain = Words(fields.bytes(entries.ok_or(RecordError::Count { kind: fields.kind })? * 8)?);
    let regs = match fields.u64()? {
        0 => None,
        _ => Some(user_regs(fields)?),
    };
    let mut sample = Sample { task, time, cpu, callchain, regs, stack: &[], stack_asked: 0, cgroup: None };
    let asked = usize::try_from(fields.u64()?).map_err(|_| RecordError::Count { kind: fields.kind })?;
    if asked > 0 {
        let copy = fields.bytes(asked)?;
        let copied = usize::try_from(fields.u64()?).unwrap_or(usize::MAX);
        sample.stack = copy.get(..copied).ok_or(RecordError::Count { kind: fields.kind })?;
        sample.stack_asked = asked;
    }
    // All fields that this agent asks for were read: what is left, if anything, is the one that is asked for where it can be.
    sample.cgroup = fields.u64().ok();
    Ok(sample)
}

#[cfg(target_arch = "x86_64")]
fn user_regs(fields: &mut Fields<'_>) -> Result<UserRegs, RecordError> {
    let [fp, sp, ip] = fields.words::<REGS_COUNT>()?;
    Ok(UserRegs { ip: Avma(ip), sp: Avma(sp), fp: Avma(fp), lr: Avma(0) })
}

#[cfg(target_arch = "aarch64")]
fn user_regs(fields: &mut Fields<'_>) -> Result<UserRegs, RecordError> {
    let [fp, lr, sp, ip] = fields.words::<REGS_COUNT>()?;
    Ok(UserRegs { ip: Avma(ip), sp: Avma(sp), fp: Avma(fp), lr: Avma(lr) })
}

fn mmap2<'a>(fields: &mut Fields<'a>, misc: u16) -> Result<Mmap<'a>, RecordError> {
    let task = fields.task()?;
    let [start, length, offset] = fields.words::<3>()?;
    let identity = fields.bytes(24)?;
    let protection = fields.u32()?;
    fields.u32()?;
    Ok(Mmap {
        task,
        start: Avma(start),
        length,
        offset: FileOffset(offset),
        executable: i32::try_from(protection).is_ok_and(|protection| protection & libc::PROT_EXEC != 0),
        file: mapped_file(identity, misc),
        path: until_nul(fields.rest),
    })
}

/// The union of `PERF_RECORD_MMAP2`: maj, min, ino, ino_generation, or build_id_size, 3 reserved bytes, build_id\[20\].
fn mapped_file(identity: &[u8], misc: u16) -> MappedFile<'_> {
    if u32::from(misc) & sys::PERF_RECORD_MISC_MMAP_BUILD_ID != 0 {
        let length = identity.first().copied().map_or(0, usize::from).min(20);
        return MappedFile::BuildId(identity.get(4..4 + length).unwrap_or_default());
    }
    let mut fields = Fields { kind: sys::PERF_RECORD_MMAP2, rest: identity };
    let (major, minor) = (fields.u32().unwrap_or_default(), fields.u32().unwrap_or_default());
    MappedFile::Inode { major, minor, inode: fields.u64().unwrap_or_default() }
}

fn fork_or_exit<'a>(fields: &mut Fields<'a>) -> Result<Record<'a>, RecordError> {
    // The order is pid, ppid, tid, ptid.
    let (pid, parent_pid, tid, parent_tid) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
    let task = Task { pid, tid };
    if fields.kind == sys::PERF_RECORD_EXIT {
        return Ok(Record::Exit { task });
    }
    Ok(Record::Fork { child: task, parent: Task { pid: parent_pid, tid: parent_tid } })
}

fn lost<'a>(fields: &mut Fields<'a>) -> Result<Record<'a>, RecordError> {
    let records = fields.u64()?;
    if records > MAX_LOST {
        return Err(RecordError::Count { kind: fields.kind });
    }
    Ok(Record::Lost { records })
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// What is left of a record.
struct Fields<'a> {
    kind: u32,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(RecordError::Short { kind: self.kind })?;
        self.rest = rest;
        Ok(bytes)
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(RecordError::Short { kind: self.kind })?;
        self.rest = rest;
        Ok(u64::from_ne_bytes(*bytes))
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(RecordError::Short { kind: self.kind })?;
        self.rest = rest;
        Ok(u32::from_ne_bytes(*bytes))
    }

    fn words<const N: usize>(&mut self) -> Result<[u64; N], RecordError> {
        let mut words = [0; N];
        for word in &mut words {
            *word = self.u64()?;
        }
        Ok(words)
    }

    fn task(&mut self) -> Result<Task, RecordError> {
        Ok(Task { pid: self.u32()?, tid: self.u32()? })
    }

    /// Time and CPU of the trailer.
    fn sample_id(&mut self) -> Result<(u64, u32), RecordError> {
        let place = self.rest.len().checked_sub(SAMPLE_ID_SIZE).ok_or(RecordError::Short { kind: self.kind })?;
        self.rest = &self.rest[place..];
        self.task()?;
        Ok((self.u64()?, self.u32()?))
    }

    fn drop_sample_id(&mut self) -> Result<(), RecordError> {
        let fields = self.rest.len().checked_sub(SAMPLE_ID_SIZE).ok_or(RecordError::Short { kind: self.kind })?;
        self.rest = &self.rest[..fields];
        Ok(())
    }
}

pub mod fault;
#[cfg(test)]
mod tests;
