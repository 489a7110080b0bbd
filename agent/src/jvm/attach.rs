//! HotSpot's attach protocol: asking a Java virtual machine to write its perf map (`jcmd PID Compiler.perfmap`, JDK 17 on).
//!
//! A machine that was never attached to listens after it has got SIGQUIT and finds a file `.attach_pidN` of its own user in
//! its `/tmp`; then it makes a socket `.java_pidN` there. Source: `attachListener_posix.cpp` and
//! `VirtualMachineImpl.java` of OpenJDK. What is asked of a process here must do no harm whatever it is:
//!
//! - SIGQUIT ends a process that does not catch it. It is sent only to one whose `/proc/PID/status` says that it does,
//!   through a descriptor of that process (`pidfd_open(2)`), after it was made sure that the descriptor and what was read
//!   are of the same process: a number that was given to another process cannot be hit. What remains is an `execve` in the
//!   microseconds between the look and the signal.
//! - Files are opened inside the process's root, links are not followed, and the socket must belong to the process.
//! - All waits and answers are bounded.

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use procfs::process::{Process as ProcEntry, Stat, Status};

use crate::jit::source::open;

/// How long a machine may take to open its socket.
const SOCKET_WAIT: Duration = Duration::from_secs(5);
/// How long it may take for each piece of its answer. Writing a map of 100,000 names takes less than a second.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// The longest answer: it is one line.
const MAX_ANSWER: u64 = 4096;
/// Version 1, command, three arguments, each with a NUL behind it.
const REQUEST: &[u8] = b"1\0jcmd\0Compiler.perfmap\0\0\0";

/// Why a machine was not made to write its map.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    /// It is gone.
    #[error("the process is gone")]
    Gone,
    /// It does not catch SIGQUIT, or refuses to be attached to.
    #[error("it does not take SIGQUIT, or was started with -XX:+DisableAttachMechanism")]
    Refuses,
    /// The agent may not do it.
    #[error("not permitted to {0}: CAP_KILL, and CAP_CHOWN or CAP_SETUID with CAP_SETGID are needed")]
    Permission(&'static str),
    /// Something in its file system is not as the protocol says.
    #[error("its {what}: {error}")]
    File {
        /// What.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
    /// No socket came.
    #[error("it did not open its socket")]
    Silent,
    /// It knows no such command: it is older than JDK 17.
    #[error("it knows no command Compiler.perfmap (before JDK 17)")]
    TooOld,
    /// It said something else.
    #[error("it answered {0:?}")]
    Answer(String),
}

/// A process, held so that its number cannot come to mean another one.
struct Held {
    pid: i32,
    descriptor: OwnedFd,
    status: Status,
}

impl Held {
    /// The process of this number, if it began when it should have: `check` is asked before it is held, and the process
    /// must be the same after.
    fn new(pid: u32) -> Result<Self, AttachError> {
        let pid = i32::try_from(pid).map_err(|_| AttachError::Gone)?;
        let before = stat(pid)?.starttime;
        // SAFETY: takes no pointers; the result is checked before it is used.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0) };
        let descriptor = i32::try_from(descriptor).ok().filter(|descriptor| *descriptor >= 0).ok_or(AttachError::Gone)?;
        // SAFETY: the kernel has just returned this descriptor and nobody else owns it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let status = ProcEntry::new(pid).and_then(|entry| entry.status()).map_err(|_| AttachError::Gone)?;
        let held = Self { pid, descriptor, status };
        if stat(pid)?.starttime != before {
            return Err(AttachError::Gone);
        }
        Ok(held)
    }

    /// Sends a signal to this very process; 0 asks whether it lives.
    fn signal(&self, signal: i32) -> io::Result<()> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo is allowed (pidfd_send_signal(2)); the descriptor is open as long as `self`.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.descriptor.as_raw_fd(), signal, no_info, 0) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Sends SIGQUIT, if the process catches it at this moment.
    fn quit(&self) -> Result<(), AttachError> {
        let status = ProcEntry::new(self.pid).and_then(|entry| entry.status()).map_err(|_| AttachError::Gone)?;
        // It lives, so what was just read by number was read of it.
        match self.signal(0) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Err(AttachError::Permission("signal it")),
            Err(_) => return Err(AttachError::Gone),
        }
        if !catches_quit(status.sigcgt) {
            return Err(AttachError::Refuses);
        }
        self.signal(libc::SIGQUIT).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => AttachError::Permission("signal it"),
            _ => AttachError::Gone,
        })
    }

    fn inner_pid(&self) -> i32 {
        self.status.nspid.as_ref().and_then(|ids| ids.last()).copied().unwrap_or(self.pid)
    }
}

/// Whether SIGQUIT is in a mask of caught signals: signal n is bit n - 1.
const fn catches_quit(caught: u64) -> bool {
    caught & 1 << (libc::SIGQUIT - 1) != 0
}

fn stat(pid: i32) -> Result<Stat, AttachError> {
    ProcEntry::new(pid).and_then(|entry| entry.stat()).map_err(|_| AttachError::Gone)
}

/// Asks the Java virtual machine of a process to write its perf map. Takes up to some 20 seconds.
///
/// # Errors
/// [`AttachError`] says why there is none.
pub(crate) fn dump_perf_map(pid: u32) -> Result<(), AttachError> {
    let held = Held::new(pid)?;
    let arguments = ProcEntry::new(held.pid).and_then(|entry| entry.cmdline()).map_err(|_| AttachError::Gone)?;
    if !catches_quit(held.status.sigcgt) || arguments.iter().any(|argument| argument == "-XX:+DisableAttachMechanism") {
        return Err(AttachError::Refuses);
    }
    let _user = Disguise::put_on(&held.status)?;
    let root = File::open(format!("/proc/{pid}/root")).map_err(|error| AttachError::File { what: "root", error })?;
    let temporary = inside(&root, "tmp\0", libc::O_PATH | libc::O_DIRECTORY).map_err(|error| AttachError::File { what: "/tmp", error })?;
    let socket = format!(".java_pid{}\0", held.inner_pid());
    let stream = match connect(&held, &temporary, &socket) {
        Ok(stream) => stream,
        // Nobody has attached before, or what is there is left over from another machine.
        Err(_) => wake(&held, &temporary, &socket)?,
    };
    ask(stream)
}

fn inside(root: &File, path: &str, flags: i32) -> io::Result<File> {
    open(root.as_raw_fd(), path, flags, libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS)
}

/// Makes the machine open its socket.
fn wake(held: &Held, temporary: &File, socket: &str) -> Result<UnixStream, AttachError> {
    let _trigger = Trigger::place(held, temporary)?;
    held.quit()?;
    let start = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(50));
        match connect(held, temporary, socket) {
            Ok(stream) => return Ok(stream),
            Err(_) if held.signal(0).is_err() => return Err(AttachError::Gone),
            Err(_) if start.elapsed() > SOCKET_WAIT => return Err(AttachError::Silent),
            Err(_) => {}
        }
    }
}

/// The file that tells the machine that SIGQUIT means this. Taken away when dropped.
struct Trigger<'a> {
    folder: &'a File,
    name: String,
}

impl<'a> Trigger<'a> {
    fn place(held: &Held, folder: &'a File) -> Result<Self, AttachError> {
        let name = format!(".attach_pid{}\0", held.inner_pid());
        let failed = |error| AttachError::File { what: "/tmp/.attach_pid file", error };
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        // SAFETY: the name is NUL-terminated and outlives the call; the result is checked before it is used.
        let fd = unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr().cast(), flags, 0o600) };
        if fd < 0 {
            return Err(failed(io::Error::last_os_error()));
        }
        // SAFETY: the kernel has just returned this descriptor and nobody else owns it.
        let file = unsafe { File::from_raw_fd(fd) };
        let trigger = Self { folder, name };
        let owner = file.metadata().map_err(failed)?.uid();
        if owner != held.status.euid {
            // A machine that finds a file of somebody else would write a thread dump instead.
            let changed = std::os::unix::fs::fchown(&file, Some(held.status.euid), Some(held.status.egid));
            changed.map_err(|_| AttachError::Permission("make a file of its user"))?;
        }
        Ok(trigger)
    }
}

impl Drop for Trigger<'_> {
    fn drop(&mut self) {
        // SAFETY: the name is NUL-terminated and outlives the call. It may be gone already; then there is nothing to do.
        unsafe { libc::unlinkat(self.folder.as_raw_fd(), self.name.as_ptr().cast(), 0) };
    }
}

/// Connects to the machine's socket, if it is a socket, and this very process listens there.
fn connect(held: &Held, folder: &File, name: &str) -> io::Result<UnixStream> {
    let refuse = |why| Err(io::Error::other(why));
    let node = open(folder.as_raw_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS)?;
    let metadata = node.metadata()?;
    if !metadata.file_type().is_socket() || metadata.uid() != held.status.euid {
        return refuse("no socket of the process's user");
    }
    let stream = UnixStream::connect(format!("/proc/self/fd/{}", node.as_raw_fd()))?;
    if listener(&stream)? != held.pid {
        return refuse("somebody else listens");
    }
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    stream.set_write_timeout(Some(ANSWER_WAIT))?;
    Ok(stream)
}

/// Who listens at the other end.
fn listener(stream: &UnixStream) -> io::Result<i32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of_val(&peer)).unwrap_or_default();
    // SAFETY: the pointer and the length are those of one ucred that outlives the call.
    let result =
        unsafe { libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut length) };
    if result == 0 { Ok(peer.pid) } else { Err(io::Error::last_os_error()) }
}

fn ask(mut stream: UnixStream) -> Result<(), AttachError> {
    let failed = |error| AttachError::File { what: "socket", error };
    stream.write_all(REQUEST).map_err(failed)?;
    let mut answer = Vec::new();
    let deadline = Instant::now() + ANSWER_WAIT;
    let mut piece = [0; 512];
    while Instant::now() < deadline && answer.len() as u64 <= MAX_ANSWER {
        match stream.read(&mut piece).map_err(failed)? {
            0 => break,
            length => answer.extend_from_slice(&piece[..length]),
        }
    }
    judge(&answer)
}

/// What an answer means: a number, 0 for success, a line feed, and a text.
fn judge(answer: &[u8]) -> Result<(), AttachError> {
    let text = String::from_utf8_lossy(answer);
    let (code, rest) = text.split_once('\n').unwrap_or((&text, ""));
    if code.trim() == "0" && !rest.contains("Unknown diagnostic command") {
        return Ok(());
    }
    if text.contains("Unknown diagnostic command") || text.contains("IllegalArgumentException") {
        return Err(AttachError::TooOld);
    }
    Err(AttachError::Answer(text.chars().filter(|character| !character.is_control()).take(120).collect()))
}

/// The user and group that this thread acts as, for the machine takes commands of its own user and of root only. An agent
/// that is root stays so.
struct Disguise {
    before: Option<(u32, u32)>,
}

impl Disguise {
    fn put_on(status: &Status) -> Result<Self, AttachError> {
        // SAFETY: these take nothing and cannot fail.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        if user == 0 || (user, group) == (status.euid, status.egid) {
            return Ok(Self { before: None });
        }
        become_user(status.euid, status.egid).map_err(|_| AttachError::Permission("act as its user"))?;
        Ok(Self { before: Some((user, group)) })
    }
}

impl Drop for Disguise {
    fn drop(&mut self) {
        if let Some((user, group)) = self.before
            && let Err(error) = become_user(user, group)
        {
            tracing::error!(%error, "the thread that attaches to Java could not become the agent's user again");
        }
    }
}

/// Sets the effective ids of this thread only: the raw system calls, unlike the C library's functions, leave the others be.
fn become_user(user: u32, group: u32) -> io::Result<()> {
    const KEEP: u32 = u32::MAX;
    // SAFETY: takes no pointers.
    if unsafe { libc::syscall(libc::SYS_setresgid, KEEP, group, KEEP) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes no pointers.
    if unsafe { libc::syscall(libc::SYS_setresuid, KEEP, user, KEEP) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Success, an old machine, and anything else.
    #[test]
    fn answers_are_judged() {
        judge(b"0\n").unwrap();
        judge(b"0\nwritten").unwrap();
        assert!(matches!(judge(b"1\njava.lang.IllegalArgumentException: Unknown diagnostic command\n"), Err(AttachError::TooOld)));
        assert!(matches!(judge(b"102\nno\x1b"), Err(AttachError::Answer(text)) if text == "102no"));
        assert!(matches!(judge(b""), Err(AttachError::Answer(_))));
    }

    /// A process that does not catch SIGQUIT is left alone, and lives.
    #[test]
    fn processes_that_would_die_are_left_alone() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let attached = dump_perf_map(child.id());
        let quit = Held::new(child.id()).unwrap().quit();
        let alive = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(attached, Err(AttachError::Refuses)) && matches!(quit, Err(AttachError::Refuses)) && alive);
        assert!(matches!(dump_perf_map(child.id()), Err(AttachError::Gone)));
    }

    /// A process that ended is not signalled, though its number may be another's by then.
    #[test]
    fn descriptors_outlive_numbers() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let held = Held::new(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(held.signal(libc::SIGQUIT).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }

    /// A real machine writes its perf map, the first time woken by the signal, then through its socket; and it lives on.
    #[test]
    fn a_machine_writes_its_map() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../testing/workloads/Burn.java");
        let mut java = Command::new("java").arg(source).args(["60", "1"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let java = java.as_mut().unwrap_or_else(|error| panic!("no java: {error}; install default-jdk"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut io::BufReader::new(java.stdout.take().unwrap()), &mut line).unwrap();
        let map = format!("/tmp/perf-{}.map", java.id());
        let results = [(); 2].map(|()| {
            let result = dump_perf_map(java.id());
            (result, std::fs::read_to_string(&map))
        });
        let trigger = std::fs::exists(format!("/tmp/.attach_pid{}", java.id()));
        let alive = java.try_wait().unwrap().is_none();
        java.kill().unwrap();
        java.wait().unwrap();
        _ = std::fs::remove_file(&map);
        _ = std::fs::remove_file(format!("/tmp/.java_pid{}", java.id()));
        for (result, text) in results {
            result.unwrap();
            assert!(text.unwrap().contains("Interpreter"));
        }
        assert!(line.starts_with("ready") && alive && !trigger.unwrap());
    }

    /// The bit of SIGQUIT, as the JVM's mask has it and sleep's has not.
    #[test]
    fn masks_are_read() {
        assert!(catches_quit(0x0000_0001_0100_5ccd) && !catches_quit(0) && !catches_quit(!0b100));
    }
}
