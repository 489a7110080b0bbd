//! Stacks of a process's sampled blocks, for the command line on this host: the agent alone knows them, since a table keeps records of
//! the newest samples only.
//!
//! Whoever may open the socket in the agent's state directory (its user, and root) writes `stacks PID` and a line feed, and gets [`Told`] as JSON.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::stop::StopFlag;

/// The socket's name in the state directory.
pub const SOCKET: &str = "heap.sock";
/// How long a question may take to be written, or its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a question, and of an answer.
const MAX_QUESTION: u64 = 64;
const MAX_ANSWER: u64 = 256 << 20;

/// A frame: addresses are those of the object, as in profiles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldFrame {
    /// The object's path; empty where it has none.
    pub path: String,
    /// Its build id, as text.
    pub build_id: Option<String>,
    /// Address in the object.
    pub address: u64,
    /// Its kind.
    pub kind: String,
    /// Its functions, where the agent named it: innermost first.
    pub functions: Vec<String>,
}

/// The stacks of a process's samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Leaf first.
    pub stacks: Vec<Vec<ToldFrame>>,
    /// The number of each live sample, and the place of its stack.
    pub samples: Vec<(u64, usize)>,
}

/// A question that waits for the thread that samples.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) pid: u32,
    pub(crate) answer: SyncSender<Option<Told>>,
}

/// Questions that wait.
#[derive(Debug, Default)]
pub struct Desk(Mutex<Vec<Question>>);

impl Desk {
    /// What waits.
    pub(crate) fn take(&self) -> Vec<Question> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask(&self, pid: u32) -> Option<Told> {
        let (answer, answered) = sync_channel(1);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Question { pid, answer });
        answered.recv_timeout(PATIENCE).ok().flatten()
    }
}

/// Where questions come in.
#[derive(Debug)]
pub(crate) struct DeskSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl DeskSocket {
    /// Listens in a directory, for its owner and root.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(SOCKET);
        // Of an agent that ran before.
        _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).with_context(|| format!("{} cannot be listened on", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path })
    }

    /// Answers until the flag is raised, one after the other.
    pub(crate) fn run(&self, desk: &Desk, stop: &StopFlag) {
        while !stop.is_raised() {
            let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            let mut waits = [poll(self.listener.as_raw_fd()), poll(stop.as_fd().as_raw_fd())];
            // SAFETY: the array outlives the call, and its length is passed.
            unsafe { libc::poll(waits.as_mut_ptr(), 2, -1) };
            let Ok((stream, _)) = self.listener.accept() else { continue };
            if let Err(error) = serve(stream, desk) {
                tracing::debug!(%error, "a question about a heap was not answered");
            }
        }
        _ = std::fs::remove_file(&self.path);
    }
}

fn serve(mut stream: UnixStream, desk: &Desk) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut question = Vec::new();
    let mut byte = [0];
    while question.len() < MAX_QUESTION as usize && stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
        question.push(byte[0]);
    }
    let pid = std::str::from_utf8(&question).ok().and_then(|text| text.strip_prefix("stacks ")).and_then(|pid| pid.parse().ok());
    let told = desk.ask(pid.context("no such question")?);
    stream.write_all(&serde_json::to_vec(&told)?)?;
    Ok(())
}

/// Asks the agent whose socket this is for the stacks of a process; none where it does not know the process's heap.
///
/// # Errors
/// Where no agent answers there.
pub fn ask(socket: &Path, pid: u32) -> Result<Option<Told>> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("no agent answers at {}", socket.display()))?;
    stream.set_read_timeout(Some(2 * PATIENCE))?;
    stream.write_all(format!("stacks {pid}\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    ensure!(!answer.is_empty(), "the agent gave no answer");
    serde_json::from_slice(&answer).context("the agent's answer is not understood: are both of one version?")
}
