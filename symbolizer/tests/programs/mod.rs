//! Programs that the tests compile.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flamekeeper_profile::Svma;

/// Runs a tool that must succeed, and returns what it wrote.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{tool}: {error} (./dev test installs what the tests need)"));
    assert!(output.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A fresh directory under the target directory, by this name.
pub(crate) fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Compiles `program.cpp`.
pub(crate) fn build(name: &str, compiler: &str, flags: &[&str]) -> PathBuf {
    let output = directory(name).join("program");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/program.cpp");
    let last = ["-std=c++17", "-Wl,--build-id=sha1", "-o", output.to_str().unwrap(), source.to_str().unwrap()];
    run(compiler, &[flags, &last].concat());
    output
}

/// Compiles `program.rs`.
pub(crate) fn build_rust(name: &str, flags: &[&str]) -> PathBuf {
    let output = directory(name).join("program");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/program.rs");
    let last = ["--edition=2021", "-o", output.to_str().unwrap(), source.to_str().unwrap()];
    run("rustc", &[flags, &last].concat());
    output
}

/// The address that the symbol table states for a (mangled) name.
pub(crate) fn address_of(program: &Path, name: &str) -> Svma {
    let symbols = run("nm", &[program.to_str().unwrap()]);
    let line = symbols.lines().find(|line| line.ends_with(&format!(" {name}"))).unwrap_or_else(|| panic!("no symbol {name}"));
    Svma(u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap())
}

/// Feeds a tool addresses and returns what it wrote.
pub(crate) fn ask(tool: &str, arguments: &[&str], addresses: &[u64]) -> String {
    let mut child = Command::new(tool).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text: String = addresses.iter().map(|address| format!("{address:#x}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
