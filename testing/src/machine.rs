//! A machine of its own for a test: a small Debian with systemd as its first process, in a container without a network.
//!
//! Its files are made by `./dev test` once (`target/machine`) and copied for each test, so that what a test does to its machine
//! ends with it. The kernel is this host's, so what a container may not do (limits of cgroups, where this host has them of
//! version 1) is not tested here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::metadata;
use crate::programs::{Running, wait_for};
use crate::scratch::Scratch;
use crate::tools::require;

/// How long the machine may take for anything that it is to do by itself, on a host that has other work.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A machine that runs. Dropping it ends it, and removes its files.
#[derive(Debug)]
pub struct Machine {
    running: Running,
    leader: u32,
    cgroups: Vec<PathBuf>,
    scratch: Scratch,
}

impl Machine {
    /// Boots a machine and waits until it runs.
    ///
    /// # Panics
    /// When it does not come up, with what it said.
    #[must_use]
    pub fn boot(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let root = scratch.join("root");
        copy_files(&root);
        let cgroups = make_cgroups(&format!("fk-{}-{name}", std::process::id()));
        // The shell moves itself into them before it becomes the container's keeper.
        let mut command = Command::new(require("sh"));
        command.args(["-c", "machine=$1; shift; for g in $machine; do echo $$ >$g/cgroup.procs || exit 1; done; exec \"$@\"", "sh"]);
        command.arg(cgroups.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" "));
        command.arg(require("systemd-nspawn")).args([
            "--boot",
            "--register=no",
            "--keep-unit",
            "--console=passive",
            "--capability=all",
            "--private-network",
        ]);
        command.arg("--machine").arg(format!("fk-{}-{name}", std::process::id())).arg("--directory").arg(&root);
        command.args(["--bind=/sys/kernel/tracing", "--bind-ro=/sys/kernel/btf"]);
        // The container's own filter knows no system calls that are newer than it.
        command.env("SYSTEMD_SECCOMP", "0");
        let running = Running::start("machine", &mut command);
        let mut machine = Self { running, leader: 0, cgroups, scratch };
        wait_for("the machine to be up", PATIENCE, || {
            // The keeper's first child makes the machine's first process and ends; then that is its child.
            machine.leader = child(machine.running.pid())?;
            let state = machine.run("systemctl is-system-running");
            ["running", "degraded"].contains(&String::from_utf8_lossy(&state.stdout).trim()).then_some(())
        });
        machine
    }

    /// Its files, as this host sees them.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.scratch.join("root")
    }

    /// Runs a script of bash on it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(&self, script: &str) -> Output {
        let mut command = Command::new(require("nsenter"));
        command.args(["--target", &self.leader.to_string(), "--all", "--", "/bin/bash", "-c", script]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
        command.output().unwrap_or_else(|error| panic!("cannot enter the machine: {error}"))
    }

    /// The same for a script that has to end well; gives what it printed.
    ///
    /// # Panics
    /// When it fails, with all that it said.
    pub fn must(&self, script: &str) -> String {
        let output = self.run(script);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}: {}\n{out}\n{err}\n{}", output.status, self.journal());
        out.trim().to_owned()
    }

    /// A property of a unit, as `systemctl show` has it.
    ///
    /// # Panics
    /// When systemd does not answer.
    #[must_use]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.must(&format!("systemctl show --value --property {name} {unit}"))
    }

    /// The newest lines of the machine's journal.
    #[must_use]
    pub fn journal(&self) -> String {
        String::from_utf8_lossy(&self.run("journalctl --no-pager --lines 80 --output short-monotonic").stdout).into_owned()
    }

    /// The body of the collector's answer to `GET path`.
    #[must_use]
    pub fn get(&self, path: &str) -> String {
        let ask = format!("exec 3<>/dev/tcp/127.0.0.1/4040 && printf 'GET %s HTTP/1.0\\r\\n\\r\\n' '{path}' >&3 && cat <&3");
        let answer = String::from_utf8_lossy(&self.run(&ask).stdout).into_owned();
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    /// Every file and directory of the machine's disk but those that any package manager or service leaves.
    ///
    /// # Panics
    /// When they cannot be listed.
    #[must_use]
    pub fn disk(&self) -> BTreeSet<String> {
        const OTHERS: [&str; 8] = ["/run", "/tmp", "/root", "/var/log", "/var/cache", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd"];
        let all = self.must("find / -xdev -path /proc -prune -o -path /sys -prune -o -print");
        let own =
            |path: &&str| !OTHERS.iter().any(|other| path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        all.lines().filter(own).map(str::to_owned).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- journal of the machine:\n{}---", self.journal());
        }
        // With its first process all others of the machine end; its keeper sees that and ends too.
        if self.leader != 0 {
            _ = Command::new(require("kill")).args(["-KILL", &self.leader.to_string()]).status();
        }
        if !std::thread::panicking() {
            self.running.wait(PATIENCE);
        }
        self.cgroups.iter().for_each(|path| remove_cgroup(path));
    }
}

/// Cgroups of the machine's own, in each hierarchy that systemd may want: two machines in one would end each other's units.
fn make_cgroups(name: &str) -> Vec<PathBuf> {
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"].map(Path::new);
    let hierarchies = mounts.into_iter().filter(|path| path.join("cgroup.procs").is_file());
    let make = |path: PathBuf| {
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("this test makes cgroups, and may not: {}: {error}", path.display()));
        path
    };
    hierarchies.map(|path| make(path.join(name))).collect()
}

/// Removes a cgroup and those in it, as far as their processes have ended.
fn remove_cgroup(path: &Path) {
    let inner = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    inner.for_each(|path| remove_cgroup(&path));
    // One that stays behind, empty, harms nobody.
    _ = std::fs::remove_dir(path);
}

/// The files that machines begin with.
fn files() -> PathBuf {
    let files = target().join("machine");
    // Resolved, since a copy of a link would be the very files.
    files.canonicalize().unwrap_or_else(|_| panic!("this test needs the files of a Debian in {}; `./dev test` makes them", files.display()))
}

/// Where all is built that tests use.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| metadata::root().join("target"), PathBuf::from)
}

/// The first child of a process.
fn child(pid: u32) -> Option<u32> {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?.split_whitespace().next()?.parse().ok()
}

/// Builds the heap shim, as `./dev deb` does, and answers its path.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn heap_shim() -> PathBuf {
    let folder = target().join("heap");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]).arg(metadata::root().join("heap/shim/Cargo.toml"));
    let output = build.arg("--target-dir").arg(&folder).output().unwrap_or_else(|error| panic!("cannot start {build:?}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.join("release/libflamekeeper_heap.so")
}

/// A kind of package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Debian's.
    Deb,
    /// The one of Fedora, openSUSE and their like.
    Rpm,
    /// An archive with an install script.
    Tarball,
}

/// Builds the packages of the programs beside this test, under a version, into a folder.
///
/// # Panics
/// When they cannot be built.
pub fn build_packages(format: Format, folder: &Path, version: &str) {
    // The machine takes what is large as well as what is small.
    let (script, compression, none) = match format {
        Format::Deb => ("packaging/build-debs", "FLAMEKEEPER_DEB_COMPRESSION", "-Znone"),
        Format::Rpm => ("packaging/build-rpms", "FLAMEKEEPER_RPM_COMPRESSION", "w.ufdio"),
        Format::Tarball => ("packaging/build-tarball", "FLAMEKEEPER_TARBALL_COMPRESSION", "-1"),
    };
    let binaries = crate::programs::binary("flamekeeper");
    let mut command = Command::new(metadata::root().join(script));
    command.args([binaries.parent().unwrap_or(&binaries), &heap_shim(), folder]).arg(version).env(compression, none);
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

/// Copies the files that machines begin with to a folder.
///
/// # Panics
/// When they are not there, or cannot be copied.
pub fn copy_files(to: &Path) {
    let copied = Command::new(require("cp")).arg("-a").arg(files()).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "cannot copy the machine's files to {}", to.display());
}
