//! A program, servers for its debug file, and what asks them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flamekeeper_collector::debuginfod::{Debuginfod, DebuginfodLimits, DebuginfodServers};
use flamekeeper_profile::{BuildId, Svma};
use flamekeeper_symbolizer::{SymbolLimits, SymbolStore, Symbolize as _, Symbolized};

const SOURCE: &str = "static int twice(int v) { return v * 2; }\nint main(int n, char **v) {\n  (void)v;\n  return twice(n);\n}\n";
/// Far more than anything here takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{tool}: {error} (./dev test installs what the tests need)"));
    assert!(output.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A program's build id, the address of its `main`, and its debug file.
pub(crate) struct Program {
    pub(crate) id: BuildId,
    pub(crate) main: Svma,
    pub(crate) debug: PathBuf,
}

pub(crate) fn program(folder: &Path) -> Program {
    program_of(folder, SOURCE, "-DNAME=name")
}

pub(crate) fn program_of(folder: &Path, text: &str, flag: &str) -> Program {
    let path = |name: &str| folder.join(name);
    let (source, whole, debug) = (path("program.c"), path("whole"), path("served/program.debug"));
    std::fs::create_dir_all(path("served")).unwrap();
    std::fs::write(&source, text).unwrap();
    let [source, from, to] = [&source, &whole, &debug].map(|path| path.to_str().unwrap());
    run("gcc", &["-g", "-O1", flag, "-Wl,--build-id=sha1", "-o", from, source]);
    let symbols = run("nm", &[from]);
    let main = symbols.lines().find_map(|line| line.strip_suffix(" T main")).unwrap();
    run("objcopy", &["--only-keep-debug", from, to]);
    let notes = run("readelf", &["-n", from]);
    let id = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).unwrap();
    std::fs::remove_file(whole).unwrap();
    Program { id: format!("gnu:{id}").parse().unwrap(), main: Svma(u64::from_str_radix(main, 16).unwrap()), debug }
}

pub(crate) struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Debian's server over the folder of a program's debug file, which it has found, and its address.
pub(crate) async fn debians(program: &Program) -> (Ended, String) {
    let folder = program.debug.parent().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let arguments = ["-F", "-d", ":memory:", "-p", &port.to_string(), folder.to_str().unwrap()];
    let child = Command::new("debuginfod").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = Ended(child.expect("the program debuginfod, which ./dev test installs"));
    let url = format!("http://127.0.0.1:{port}");
    let path = format!("/buildid/{}/debuginfo", program.id.hex());
    let started = Instant::now();
    while status(&url, &path) != Some(200) {
        assert!(started.elapsed() < DEADLINE, "debuginfod did not find {}", program.debug.display());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (child, url)
}

/// The status that a server answers with.
fn status(url: &str, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(url.strip_prefix("http://")?).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

/// A server that answers each request with the same bytes, and then closes the connection, or waits with it open.
pub(crate) fn answering(bytes: &'static [u8], close: bool) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The whole request is in the first packet.
            _ = stream.read(&mut [0; 4096]);
            count.fetch_add(1, Ordering::Relaxed);
            _ = stream.write_all(bytes);
            if !close {
                open.push(stream);
            }
        }
    });
    (url, asked)
}

/// Something that asks, in a folder that outlives it.
pub(crate) struct Asking {
    pub(crate) debuginfod: Arc<Debuginfod>,
    pub(crate) store: Arc<SymbolStore>,
    _folder: Arc<tempfile::TempDir>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn asking(urls: &[String], limits: DebuginfodLimits) -> Asking {
    asking_in(Arc::new(tempfile::tempdir().unwrap()), &DebuginfodServers { urls: urls.into(), ca: None, ahead: false }, limits)
}

pub(crate) fn asking_in(folder: Arc<tempfile::TempDir>, servers: &DebuginfodServers, limits: DebuginfodLimits) -> Asking {
    let store = Arc::new(SymbolStore::open(&folder.path().join("symbols"), SymbolLimits::default()).unwrap());
    let debuginfod = Arc::new(Debuginfod::new(servers, &folder.path().join("fetched"), Arc::clone(&store), limits).unwrap());
    let runner = Arc::clone(&debuginfod);
    let task = tokio::spawn(async move { runner.run().await });
    Asking { debuginfod, store, _folder: folder, task }
}

impl Asking {
    pub(crate) fn lookup(&self, program: &Program) -> Symbolized {
        self.debuginfod.symbolize(Some(&program.id), "/bin/program", program.main)
    }

    /// Found, absent and failed.
    pub(crate) fn counts(&self) -> [u64; 3] {
        let counters = self.debuginfod.counters();
        [&counters.found, &counters.absent, &counters.failed].map(|counter| counter.load(Ordering::Relaxed))
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn([u64; 3]) -> bool) {
        let started = Instant::now();
        while !holds(self.counts()) {
            assert!(started.elapsed() < DEADLINE, "{what}: {:?}", self.counts());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) fn quick() -> DebuginfodLimits {
    let [pause, seen_after, seen_pause] = [Duration::from_millis(1); 3];
    DebuginfodLimits { pause, seen_after, seen_pause, ..DebuginfodLimits::default() }
}
