//! The workload programs (`testing/workloads/`): built, started, and asked for their truth.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::{metadata, tools};

/// A program with known truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `burn.cpp`, `-O2 -g`: functions at 70/20/10 %, inlined callees, lines.
    Cpp,
    /// `burn.cpp`, `-O2` without debug information: names from the symbol table.
    CppWithoutDebug,
    /// `deep.cpp`: a deep recursion of large frames.
    Deep,
    /// `steps.cpp`: works in step with a timer.
    Steps,
    /// `crowd.cpp`: many processes, mappings, threads and forks.
    Crowd,
    /// `burn.rs`, `-C opt-level=2 -C debuginfo=1`.
    Rust,
    /// `burn.go`, as `go build` makes it.
    Go,
    /// The same without symbol table and debug information (`-ldflags="-s -w"`).
    GoStripped,
    /// The same as [`Self::GoStripped`], position independent.
    GoPie,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Cpp => "burn-cpp",
            Self::CppWithoutDebug => "burn-cpp-bare",
            Self::Deep => "deep-cpp",
            Self::Steps => "steps-cpp",
            Self::Crowd => "crowd",
            Self::Rust => "burn-rust",
            Self::Go => "burn-go",
            Self::GoStripped => "burn-go-stripped",
            Self::GoPie => "burn-go-pie",
        }
    }

    fn source(self) -> PathBuf {
        script(match self {
            Self::Cpp | Self::CppWithoutDebug => "burn.cpp",
            Self::Deep => "deep.cpp",
            Self::Steps => "steps.cpp",
            Self::Crowd => "crowd.cpp",
            Self::Rust => "burn.rs",
            Self::Go | Self::GoStripped | Self::GoPie => "burn.go",
        })
    }

    fn compiler(self) -> Command {
        let (tool, arguments): (_, &[&str]) = match self {
            Self::Cpp | Self::Deep | Self::Crowd => ("g++", &["-O2", "-fomit-frame-pointer", "-g", "-pthread"]),
            Self::CppWithoutDebug | Self::Steps => ("g++", &["-O2", "-fomit-frame-pointer", "-pthread"]),
            Self::Rust => ("rustc", &["--edition", "2024", "-C", "opt-level=2", "-C", "debuginfo=1"]),
            Self::Go => ("go", &["build"]),
            Self::GoStripped => ("go", &["build", "-ldflags=-s -w"]),
            Self::GoPie => ("go", &["build", "-buildmode=pie", "-ldflags=-s -w"]),
        };
        let mut command = Command::new(tools::require(tool));
        command.args(arguments);
        command
    }

    /// Builds the program under a name of its own, so that it is a service of its own, and answers its path.
    ///
    /// # Panics
    /// When the compiler is missing (by name) or refuses the source.
    #[must_use]
    pub fn build(self, folder: &Path, suffix: &str) -> PathBuf {
        let target = folder.join(format!("{}{suffix}", self.name()));
        let output = self.compiler().arg("-o").arg(&target).arg(self.source()).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run the compiler of {self:?}: {error}"));
        assert!(output.status.success(), "{self:?} does not compile: {}", String::from_utf8_lossy(&output.stderr));
        target
    }
}

/// Builds a workload by a compiler and its arguments, and answers the program's path.
///
/// # Panics
/// When the compiler is missing (by name) or refuses the source.
#[must_use]
pub fn compile(tool: &str, arguments: &[&str], source: &str, target: &Path) -> PathBuf {
    let output = Command::new(tools::require(tool)).args(arguments).arg(script(source)).arg("-o").arg(target).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {tool}: {error}"));
    assert!(output.status.success(), "{source} does not compile: {}", String::from_utf8_lossy(&output.stderr));
    target.to_owned()
}

/// The path of a file in `testing/workloads/`.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    metadata::root().join("testing/workloads").join(name)
}

/// A workload that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// CPU time by function name, in nanoseconds, as the workload itself measured it.
#[derive(Debug)]
pub struct Truth(pub BTreeMap<String, u64>);

impl Truth {
    /// CPU time in all functions.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The share of a function.
    ///
    /// # Panics
    /// When the workload did not measure it.
    #[must_use]
    pub fn share(&self, function: &str) -> f64 {
        let spent = self.0.get(function).unwrap_or_else(|| panic!("the workload did not measure {function}"));
        // Nanoseconds of a test are far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let share = *spent as f64 / self.total() as f64;
        share
    }
}

impl Running {
    /// Starts a command and waits until it says `ready`.
    ///
    /// # Panics
    /// When it cannot be started or says something else.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let output = child.stdout.take().unwrap_or_else(|| panic!("no output of {command:?}"));
        let mut running = Self { child, output: BufReader::new(output) };
        let first = running.line();
        assert_eq!(first, "ready", "{command:?} said something else");
        running
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end, and answers the truth that the workload prints.
    ///
    /// # Panics
    /// When it prints no truth or fails.
    #[must_use]
    pub fn finish(mut self) -> Truth {
        let text = self.line();
        let truth = serde_json::from_str(&text).unwrap_or_else(|error| panic!("no truth in {text:?}: {error}"));
        let status = self.child.wait().unwrap_or_else(|error| panic!("cannot wait: {error}"));
        assert!(status.success(), "the workload failed: {status}");
        Truth(truth)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap_or_else(|error| panic!("cannot read the workload's output: {error}"));
        line.trim_end().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
