//! The engine of ClickHouse behind its HTTP front.
#![allow(dead_code)] // Each test program uses a part of it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// The front. It ends with the test program, or when this is dropped, since that closes its standard input, and takes its directory along.
pub(crate) struct Front {
    scheme: &'static str,
    port: u16,
    child: Child,
}

/// Those that the tests of a program share. An engine runs one query at a time, so that two use two CPUs.
static FRONTS: [OnceLock<Front>; 2] = [OnceLock::new(), OnceLock::new()];

/// How many threads use each.
static USERS: Mutex<[usize; 2]> = Mutex::new([0; 2]);

/// The use of one of them, until the thread ends: a test runs on a thread of its own.
struct Use(usize);

impl Use {
    fn begin() -> Self {
        let mut users = USERS.lock().unwrap();
        let least = usize::from(users[1] < users[0]);
        users[least] += 1;
        Self(least)
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        USERS.lock().unwrap()[self.0] -= 1;
    }
}

thread_local! {
    static MINE: Use = Use::begin();
}

impl Front {
    /// One that tests of a program share: on the same thread always the same.
    pub(crate) fn shared() -> &'static Self {
        FRONTS[MINE.with(|mine| mine.0)].get_or_init(Self::start)
    }

    /// One of its own.
    pub(crate) fn start() -> Self {
        Self::start_with("http", &[])
    }

    /// One that speaks TLS, wants a certificate of this authority, and this password. Its statements cannot be run beside the store.
    pub(crate) fn secure(cert: &Path, key: &Path, client_ca: &Path, password: &str) -> Self {
        Self::start_with("https", &[cert.as_os_str(), key.as_os_str(), client_ca.as_os_str(), password.as_ref()])
    }

    fn start_with(scheme: &'static str, arguments: &[&OsStr]) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let python: PathBuf = target.join("clickhouse/bin/python");
        assert!(python.is_file(), "this test needs ClickHouse's engine in {}; `./dev test` installs it", python.display());
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testing/clickhouse/front.py");
        // In memory where the system has a place there: the tests sync often.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let folder = parent.join(format!("flamekeeper-clickhouse-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&folder).unwrap();
        let mut command = Command::new(python);
        command.arg(program).arg(folder).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { scheme, port: line.trim().parse().expect("the front says its port, or above what it failed at"), child }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Runs a statement beside the store.
    pub(crate) fn run(&self, statement: &str) -> String {
        self.post("/", statement)
    }

    /// The connection of request `number` to a database, from now on, is lost, `before` or `after` the request is done; or no more.
    pub(crate) fn fault(&self, database: &str, fault: Option<(u64, &str)>) {
        let fault = fault.map(|(number, mode)| format!("&after={number}&mode={mode}")).unwrap_or_default();
        self.post(&format!("/fault?database={database}{fault}"), "");
    }

    fn post(&self, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{body}: {answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        _ = self.child.wait();
    }
}
