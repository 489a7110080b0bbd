//! A command that starts only when its events are open.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::thread::JoinHandle;

use crate::perf::error::OpenError;

/// A process that waits right before its `execve`.
#[derive(Debug)]
pub(crate) struct Child {
    pid: u32,
    gate: Option<PipeWriter>,
    spawned: Option<JoinHandle<io::Result<std::process::Child>>>,
    child: Option<std::process::Child>,
}

impl Child {
    /// Makes the process. It waits until [`Self::release`]; without that it ends.
    pub(crate) fn prepare(program: &OsStr, arguments: &[OsString]) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Command { program: program.to_string_lossy().into_owned(), source };
        let (mut told_pid, tell_pid) = io::pipe().map_err(failed)?;
        let (wait, gate) = io::pipe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(arguments);
        gate_before_exec(&mut command, tell_pid, wait, gate.as_raw_fd());
        // The standard library's spawn returns when execve has succeeded, which waits for the gate: so on a thread.
        let spawned = std::thread::Builder::new().name("spawn".into()).spawn(move || command.spawn()).map_err(failed)?;
        let mut pid = [0; 4];
        if told_pid.read_exact(&mut pid).is_err() {
            // The fork itself failed, and with the thread the last writer is gone.
            let error = match spawned.join() {
                Ok(Err(error)) => error,
                Ok(Ok(_)) | Err(_) => io::Error::other("the process ended before it began"),
            };
            return Err(failed(error));
        }
        Ok(Self { pid: u32::from_ne_bytes(pid), gate: Some(gate), spawned: Some(spawned), child: None })
    }

    /// Process id.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it run.
    ///
    /// # Errors
    /// When the program could not be executed.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        if let Some(mut gate) = self.gate.take() {
            gate.write_all(&[1])?;
        }
        if let Some(spawned) = self.spawned.take() {
            self.child = Some(spawned.join().map_err(|_| io::Error::other("the thread that starts the command panicked"))??);
        }
        Ok(())
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.as_mut().ok_or_else(|| io::Error::other("the command was never started"))?.wait()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A closed gate ends a process that still waits at it; then the thread ends too, and its result tells nothing.
        self.gate = None;
        if let Some(spawned) = self.spawned.take() {
            drop(spawned.join());
        }
    }
}

fn gate_before_exec(command: &mut Command, mut tell_pid: PipeWriter, mut wait: PipeReader, gate: i32) {
    let at_gate = move || {
        // SAFETY: takes no pointers. The child's copy of the gate's writer must go, or the gate would never be seen closed.
        unsafe { libc::close(gate) };
        tell_pid.write_all(&std::process::id().to_ne_bytes())?;
        let mut byte = [0];
        wait.read_exact(&mut byte)
    };
    // SAFETY: between fork and exec only async-signal-safe functions may run: these are close, getpid, write and read,
    // and nothing allocates (the errors are built from codes).
    unsafe { command.pre_exec(at_gate) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program does not run before it is let, and its status comes back.
    #[test]
    fn waits_at_the_gate() {
        let mark = std::env::temp_dir().join(format!("flamekeeper-gate-{}", std::process::id()));
        let mark_text = mark.to_string_lossy().into_owned();
        let mut child = Child::prepare(OsStr::new("sh"), &["-c".into(), format!("touch {mark_text}; exit 3").into()]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!mark.exists(), "ran before the gate was opened");
        child.release().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
        std::fs::remove_file(mark).unwrap();
    }

    /// A program that does not exist is an error when it is let run, and one that is never let run goes away.
    #[test]
    fn failures_are_told() {
        let mut child = Child::prepare(OsStr::new("/nonexistent/program"), &[]).unwrap();
        assert_eq!(child.release().unwrap_err().kind(), io::ErrorKind::NotFound);
        let child = Child::prepare(OsStr::new("sleep"), &["100".into()]).unwrap();
        let pid = child.pid();
        drop(child);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}
