//! A collector in a process of its own, whose CPU time and memory are nothing else's: the test program once more, told so by its environment.
#![allow(dead_code)] // Each test program uses a part of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use flamekeeper_collector::Server;
use flamekeeper_collector::config::Config;

use crate::ingest_server::Answer;

const FOLDER: &str = "FLAMEKEEPER_TEST_LOAD_FOLDER";
/// The memory that it is given, in bytes.
pub(crate) const MEMORY: u64 = 512 << 20;

/// What a test of the name `child` does: nothing, or to be the collector until its input ends.
pub(crate) fn serve() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let config = Config { listen: "127.0.0.1:0".parse().unwrap(), data_dir: folder.into(), memory: MEMORY, ..Config::default() };
    let server = Server::bind(config).unwrap();
    eprintln!("address {}", server.address());
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        _ = std::io::stdin().read_line(&mut String::new());
        drop(ended);
    });
    server.run(async move { _ = end.await }).unwrap();
}

/// It runs.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Process {
    pub(crate) fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| line.unwrap().strip_prefix("address ").map(|address| address.parse().unwrap())).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        Self { address, child }
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "GET /api/v1/status HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        Answer::read(stream).json()
    }

    /// CPU seconds of all its threads (proc_pid_stat(5): utime and stime, 100 ticks a second).
    pub(crate) fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.child.id().to_string())
    }

    /// The greatest resident size, less its files: `VmHWM` and `RssFile` of proc_pid_status(5).
    pub(crate) fn peak_anonymous(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        (field("VmHWM:") - field("RssFile:").min(field("VmHWM:"))) * 1024
    }

    /// Asks it to end, and waits until it has, well.
    pub(crate) fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// CPU seconds of a process, all threads (proc_pid_stat(5): utime and stime, 100 ticks a second).
pub(crate) fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
