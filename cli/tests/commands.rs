//! The command line itself: help, completions, mistakes. What the commands do is tested end to end in `testing/`.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

const SUBCOMMANDS: [&str; 16] = [
    "up",
    "agent",
    "collector",
    "record",
    "top",
    "flamegraph",
    "diff",
    "deploys",
    "requests",
    "heap",
    "leaks",
    "memory",
    "token",
    "check-config",
    "doctor",
    "completions",
];

fn flamekeeper(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flamekeeper")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every subcommand is in the help, and its own help has examples that start with it.
#[test]
fn help_suffices() {
    let help = out(&flamekeeper(&["--help"]));
    for name in SUBCOMMANDS {
        assert!(help.contains(&format!("  {name}")), "{name} is not in: {help}");
        let own = flamekeeper(&[name, "--help"]);
        assert!(own.status.success(), "{name}: {}", err(&own));
        assert!(out(&own).contains("Examples:") && out(&own).contains(&format!("flamekeeper {name}")), "{name}: {}", out(&own));
    }
}

/// The version is that of the package, for every subcommand.
#[test]
fn version() {
    assert_eq!(out(&flamekeeper(&["--version"])), format!("flamekeeper {}\n", env!("CARGO_PKG_VERSION")));
}

/// Completions print, name every subcommand, and bash accepts them.
#[test]
fn completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = out(&flamekeeper(&["completions", shell]));
        for name in SUBCOMMANDS {
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
    let script = out(&flamekeeper(&["completions", "bash"]));
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
}

/// A misspelt command suggests the right one; a missing argument is named; nothing panics.
#[test]
fn mistakes_are_told() {
    let cases: [(&[&str], &str); 13] = [
        (&["colector"], "'collector'"),
        (&["record"], "--pid"),
        (&["record", "--pid", "1", "--duration", "soon"], "such as 10s"),
        (&["record", "--frequency", "0", "--", "true"], "1..=999"),
        (&["record", "-o", "x.exe", "--", "true"], "--format"),
        (&["diff", "--by", "share"], "--selector-a"),
        (&["diff", "--service", "api", "--fail-above", "much"], "such as 5%"),
        (&["diff", "--from-version", "1"], "--service"),
        (&["diff", "--service", "api", "--requests-a", "5"], "--requests-b"),
        (&["deploys", "mark", "--text", "x"], "--service"),
        (&["top", "--collector", "ftp://example.org"], "https://"),
        (&["collector", "--listen", "0.0.0.0:0", "--data-dir", "/nonexistent"], "--insecure-listen"),
        (&["token", "hash", "/nonexistent"], "/nonexistent"),
    ];
    for (arguments, expected) in cases {
        let output = flamekeeper(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(err(&output).contains(expected), "{arguments:?}: {}", err(&output));
        assert!(!err(&output).contains("panicked"), "{arguments:?}: {}", err(&output));
    }
}

/// A token that is made is in a file of its own, which is never written over, and has a hash; the next one is another.
#[test]
fn tokens() {
    let folder = std::env::temp_dir().join(format!("flamekeeper-tokens-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("agents.token");
    let path = file.to_str().unwrap();
    let made = flamekeeper(&["token", "create", "--file", path]);
    assert!(made.status.success() && err(&made).contains("sha256:"), "{}", err(&made));
    let token = std::fs::read_to_string(&file).unwrap();
    assert!(token.starts_with("fk_") && token.trim().len() == 67 && !err(&made).contains(token.trim()));
    let hash = out(&flamekeeper(&["token", "hash", path]));
    assert!(err(&made).contains(hash.trim()) && hash.starts_with("sha256:") && hash.trim().len() == 71, "{hash}");
    assert!(!flamekeeper(&["token", "create", "--file", path]).status.success());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), token);
    assert_ne!(out(&flamekeeper(&["token", "create"])), token);
    std::fs::remove_dir_all(folder).unwrap();
}

/// A configuration that cannot be read names the file.
#[test]
fn missing_configuration() {
    let output = flamekeeper(&["check-config", "agent", "/no/such/file.toml"]);
    assert!(!output.status.success() && err(&output).contains("/no/such/file.toml"), "{}", err(&output));
}
