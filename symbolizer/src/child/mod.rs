//! Conversion in a child process: what an object does to its converter stays there.
//!
//! Debug information is foreign, large and deep. A converter that eats memory, never ends or crashes takes no more than
//! the limits of [`ChildLimits`] with it, and runs at a low priority. The child is this same program under another
//! subcommand, so that both are of one version.
//!
//! What passes between the two:
//! - standard input is the object, or a bundle of it and its companions: a regular file, which the child maps;
//! - standard output is the symbol file to write, standard error a short message;
//! - the exit code is 0, or one that says what the message is about.
//!
//! It inherits nothing else: no other descriptor, no environment. Limits are set by the child itself before it looks at the
//! object (setrlimit(2)); the time by the wall clock is the parent's to watch. It dies with the thread that started it.

mod confine;
mod entry;
mod task;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::fd::FromRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use entry::run;
use task::Task;

use crate::convert::{ConvertError, Converter};

/// Exit codes of the child.
mod code {
    /// The object has no symbols.
    pub(super) const NO_SYMBOLS: u8 = 10;
    /// Its symbols cannot be read.
    pub(super) const UNREADABLE: u8 = 11;
    /// The child could not set its limits, or not use its files.
    pub(super) const SETUP: u8 = 12;
    /// The memory limit left no room for a thread.
    pub(super) const THREAD: u8 = 13;
}

/// The subcommand of `flamekeeper` that leads to [`run`].
pub const SUBCOMMAND: &str = "convert-symbols";

/// Bytes of the child's message that are kept.
const MESSAGE: usize = 1000;

/// What one conversion may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildLimits {
    /// Bytes of memory: private data (`RLIMIT_DATA`), beside the mapped object and the stack.
    pub memory_bytes: u64,
    /// CPU time, in whole seconds.
    pub cpu: Duration,
    /// Time by the wall clock. Far above the CPU time, since the child has to wait for its turn on a busy host.
    pub wall: Duration,
    /// Bytes of the symbol file.
    pub output_bytes: u64,
    /// How nice it is to others, 0 to 19, on top of its parent's (setpriority(2)).
    pub nice: u8,
}

impl Default for ChildLimits {
    /// Room for the largest objects known: libjvm's debug information takes 674 MiB and 6 s.
    fn default() -> Self {
        Self { memory_bytes: 2 << 30, cpu: Duration::from_secs(300), wall: Duration::from_secs(3600), output_bytes: 2 << 30, nice: 10 }
    }
}

/// A limit of [`ChildLimits`] that a conversion ran into. The object may be convertible under a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Bytes of memory.
    Memory(u64),
    /// Seconds of CPU time.
    Cpu(u64),
    /// Bytes of the symbol file.
    Output(u64),
}

/// A conversion that its child did not end.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("cannot start the converter {program}: {error}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// It was started, and could not begin.
    #[error("the converter could not begin: {0}")]
    Setup(String),
    /// It needed more memory than its limit.
    #[error("converting the object takes more memory than the limit of {0} bytes")]
    Memory(u64),
    /// It needed more CPU time than its limit.
    #[error("converting the object takes more CPU time than the limit of {0} s")]
    Cpu(u64),
    /// The symbol file became larger than its limit.
    #[error("the object's symbol file would be larger than the limit of {0} bytes")]
    Output(u64),
    /// It did not end in time.
    #[error("converting the object took longer than {0} s, and was ended")]
    Wall(u64),
    /// Somebody else ended it: the kernel for want of memory on the host, or a person.
    #[error("the converter was killed, perhaps for want of memory on this host")]
    Killed,
    /// It crashed.
    #[error("the converter crashed on the object: {0}")]
    Crashed(String),
}

impl ChildError {
    /// Whether the same object would fail again in the same way, as long as the limits are as they are.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Memory(_) | Self::Cpu(_) | Self::Output(_) | Self::Crashed(_))
    }

    /// The limit that was in the way, where a higher one might help.
    #[must_use]
    pub const fn bound(&self) -> Option<Bound> {
        match self {
            Self::Memory(bytes) => Some(Bound::Memory(*bytes)),
            Self::Cpu(seconds) => Some(Bound::Cpu(*seconds)),
            Self::Output(bytes) => Some(Bound::Output(*bytes)),
            _ => None,
        }
    }
}

/// Converts objects in child processes.
#[derive(Clone, Debug)]
pub struct ChildConverter {
    /// The program to start. `/proc/self/exe` is the one that runs, also after its file was replaced.
    pub program: PathBuf,
    /// Its first arguments, which must lead to [`run`] with all those that follow.
    pub arguments: Vec<String>,
    /// What a conversion may take.
    pub limits: ChildLimits,
}

impl ChildConverter {
    /// Converts an object into `output`, an empty file open for writing. What stands there afterwards is not checked yet.
    /// Blocks until the child has ended.
    ///
    /// # Errors
    /// [`ConvertError`] says why there is no symbol file; `output` then holds nothing of use.
    pub(crate) fn convert(&self, converter: &Converter, object: &File, output: &File) -> Result<(), ConvertError> {
        let (child, messages) = self.start(converter, object, output).map_err(|error| self.not_started(error))?;
        let ended = wait(child, self.limits.wall).map_err(|error| self.not_started(error))?;
        let mut message = vec![0; MESSAGE];
        let read = messages.read_at(&mut message, 0).unwrap_or(0);
        message.truncate(read);
        let message = String::from_utf8_lossy(&message);
        ended.map_or_else(|| Err(ChildError::Wall(self.limits.wall.as_secs()).into()), |status| self.outcome(status, message.trim()))
    }

    fn not_started(&self, error: io::Error) -> ChildError {
        ChildError::Start { program: self.program.display().to_string(), error }
    }

    fn start(&self, converter: &Converter, object: &File, output: &File) -> io::Result<(Child, File)> {
        let messages = memory_file()?;
        let task = Task { converter: *converter, limits: self.limits, parent: std::process::id() };
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(task.arguments()).env_clear().current_dir("/");
        command.stdin(object.try_clone()?).stdout(output.try_clone()?).stderr(Stdio::from(messages.try_clone()?));
        Ok((command.spawn()?, messages))
    }

    fn outcome(&self, status: ExitStatus, message: &str) -> Result<(), ConvertError> {
        if let Some(signal) = status.signal() {
            return Err(self.ended_by(signal, message).into());
        }
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
        match code {
            0 => Ok(()),
            code::NO_SYMBOLS => Err(ConvertError::NoSymbols),
            code::UNREADABLE => Err(ConvertError::Unreadable(message.to_owned())),
            code::THREAD => Err(ChildError::Memory(self.limits.memory_bytes).into()),
            code::SETUP => Err(ChildError::Setup(message.to_owned()).into()),
            other => Err(ChildError::Crashed(format!("exit code {other}: {message}")).into()),
        }
    }

    fn ended_by(&self, signal: i32, message: &str) -> ChildError {
        match signal {
            libc::SIGXCPU => ChildError::Cpu(self.limits.cpu.as_secs()),
            libc::SIGXFSZ => ChildError::Output(self.limits.output_bytes),
            libc::SIGKILL | libc::SIGTERM | libc::SIGINT | libc::SIGHUP => ChildError::Killed,
            // What std's allocation error handler prints before it aborts.
            libc::SIGABRT if message.contains("memory allocation of") => ChildError::Memory(self.limits.memory_bytes),
            other => ChildError::Crashed(format!("signal {other}: {}", message.lines().last().unwrap_or_default())),
        }
    }
}

/// An unnamed file in memory, which takes a message of any length without anybody reading it meanwhile.
fn memory_file() -> io::Result<File> {
    // SAFETY: the name is a constant that ends in a zero byte; memfd_create(2) returns a descriptor or -1.
    let descriptor = unsafe { libc::memfd_create(c"converter messages".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// Waits for the child's end; none where it had to be ended at the limit. It is looked after more and more seldom, up to
/// twenty times a second: a conversion takes seconds.
fn wait(mut child: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
