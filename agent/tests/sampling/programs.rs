//! Programs to sample, and what they say of themselves.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A source file of `testing/workloads`.
pub(crate) fn workload(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testing/workloads").join(name)
}

static BUILT: AtomicU32 = AtomicU32::new(0);

/// Compiles a C++ workload without frame pointers, at fixed addresses, so that `nm` tells where its functions are.
pub(crate) fn build(source: &str, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}", std::process::id(), BUILT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join(name);
    let flags = ["-O2", "-g", "-fomit-frame-pointer", "-no-pie", "-pthread", "-o"];
    let built = Command::new("g++").args(flags).arg(&program).arg(workload(source)).status();
    assert!(built.expect("g++ is needed: apt-get install g++").success(), "{source} does not compile");
    program
}

/// The truth that a workload prints: nanoseconds by function.
pub(crate) fn truth(output: &str) -> BTreeMap<String, u64> {
    let line = output.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no truth in {output:?}"));
    serde_json::from_str(line).unwrap()
}

/// Functions of a program by address.
pub(crate) struct Functions(BTreeMap<u64, String>);

impl Functions {
    /// Asks `nm`.
    pub(crate) fn of(program: &Path) -> Self {
        let output =
            Command::new("nm").args(["-C", "--defined-only"]).arg(program).output().expect("nm is needed: apt-get install binutils");
        let text = String::from_utf8(output.stdout).unwrap();
        let symbols = text.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ' ');
            let (address, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
            let name = name.split('(').next()?;
            "tT".contains(kind).then(|| Some((u64::from_str_radix(address, 16).ok()?, name.to_owned())))?
        });
        Self(symbols.collect())
    }

    /// The function at or before an address.
    pub(crate) fn name(&self, address: u64) -> Option<&str> {
        self.0.range(..=address).next_back().map(|(_, name)| name.as_str())
    }
}

/// A workload that runs; it ends with this.
pub(crate) struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        // node leaves a log in the directory that it runs in.
        let mut child = command
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Waits until it says that it burns.
    pub(crate) fn wait_ready(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_file(format!("/tmp/perf-{}.map", self.child.id())));
    }
}
