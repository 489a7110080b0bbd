//! The programs under test, as they are built and run by people: found beside the test, started on free ports and in
//! directories of the test, and stopped by their process id.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The path of `flamekeeper` or `flamekeeper-agent` in the target directory of this test.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("cannot tell where this test is: {error}"));
    let folder = test.parent().and_then(std::path::Path::parent);
    let path = folder.map(|folder| folder.join(name)).unwrap_or_default();
    assert!(path.is_file(), "{} is not there: build it first by `cargo build --bins`", path.display());
    path
}

/// Builds `libflamekeeper_heap.so` as its documentation says, and answers its path.
///
/// # Panics
/// When it cannot be built.
pub fn heap_shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let test = std::env::current_exe().unwrap_or_else(|error| panic!("cannot tell where this test is: {error}"));
        let folder = test.ancestors().nth(3).map(|target| target.join("heap")).unwrap_or_default();
        let manifest = crate::metadata::root().join("heap/shim/Cargo.toml");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]).arg(manifest).arg("--target-dir").arg(&folder);
        let built = build.output().unwrap_or_else(|error| panic!("{build:?}: {error}"));
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        folder.join("release/libflamekeeper_heap.so")
    })
}

/// Holds other tests of this binary back while one runs that samples the host or measures: two at once would disturb each
/// other on a small machine.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address on which nothing listens at the moment.
///
/// # Panics
/// When the system has no port left.
#[must_use]
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("no free port: {error}"));
    listener.local_addr().unwrap_or_else(|error| panic!("no address: {error}"))
}

/// Waits until `check` answers something.
///
/// # Panics
/// After `limit`, with what was waited for.
pub fn wait_for<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The newest lines that a program printed, and a bell for new ones.
#[derive(Debug, Default)]
struct Lines {
    lines: Mutex<VecDeque<String>>,
    bell: Condvar,
}

const LINES_KEPT: usize = 10_000;

/// A program that runs. Dropping it kills it; its output is shown when the test fails.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    lines: Arc<Lines>,
}

impl Running {
    /// Starts a command; both its outputs are read.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, command: &mut Command) -> Self {
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let lines = Arc::new(Lines::default());
        if let Some(output) = child.stdout.take() {
            read_lines(output, &lines);
        }
        if let Some(output) = child.stderr.take() {
            read_lines(output, &lines);
        }
        Self { name: name.to_owned(), child, lines }
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that contains `text`, and answers it.
    ///
    /// # Panics
    /// After `limit`, or when the program ends without it.
    pub fn wait_for_line(&mut self, text: &str, limit: Duration) -> String {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait().ok().flatten();
            let lines = self.lines.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            assert!(ended.is_none(), "{} ended ({ended:?}) without {text:?}: {lines:?}", self.name);
            assert!(start.elapsed() < limit, "{} did not print {text:?} within {limit:?}: {lines:?}", self.name);
            drop(self.lines.bell.wait_timeout(lines, Duration::from_millis(100)));
        }
    }

    /// All that it printed, as far as it is kept.
    #[must_use]
    pub fn output(&self) -> String {
        let lines = self.lines.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// Sends a signal: `TERM`, `INT` or `KILL`.
    ///
    /// # Panics
    /// When there is no `kill` to send it with.
    pub fn signal(&self, signal: &str) {
        let status = Command::new(crate::tools::require("kill")).arg(format!("-{signal}")).arg(self.pid().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot send {signal} to {}", self.name);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let name = format!("{} to end", self.name);
        let status = wait_for(&name, limit, || self.child.try_wait().ok().flatten());
        // The threads that read its output may be a moment behind.
        std::thread::sleep(Duration::from_millis(100));
        status
    }

    /// Asks it to end, and waits.
    ///
    /// # Panics
    /// When it does not end, or does not end well.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let status = self.wait(Duration::from_secs(20));
        assert!(status.success(), "{} ended with {status}: {}", self.name, self.output());
    }
}

fn read_lines(output: impl Read + Send + 'static, lines: &Arc<Lines>) {
    let lines = Arc::clone(lines);
    // The thread ends with the program's output.
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let mut kept = lines.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == LINES_KEPT {
                kept.pop_front();
            }
            kept.push_back(String::from_utf8_lossy(&line).into_owned());
            lines.bell.notify_all();
        }
    });
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- output of {}:\n{}---", self.name, self.output());
        }
        // It may have ended by itself; then there is nothing to do.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
