//! The command line itself: help, completions, mistakes. What the commands do is tested end to end in `testing/`.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

const SUBCOMMANDS: [&str; 13] = [
    "up",
    "agent",
    "collector",
    "record",
    "top",
    "flamegraph",
    "diff",
    "deploys",
    "heap",
    "leaks",
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
    let cases: [(&[&str], &str); 10] = [
        (&["colector"], "'collector'"),
        (&["record"], "--pid"),
        (&["record", "--pid", "1", "--duration", "soon"], "such as 10s"),
        (&["record", "--frequency", "0", "--", "true"], "1..=999"),
        (&["record", "-o", "x.exe", "--", "true"], "--format"),
        (&["top", "--collector", "https://example.org"], "TLS"),
        (&["diff", "--by", "share"], "--selector-a"),
        (&["diff", "--service", "api", "--fail-above", "much"], "such as 5%"),
        (&["diff", "--from-version", "1"], "--service"),
        (&["deploys", "mark", "--text", "x"], "--service"),
    ];
    for (arguments, expected) in cases {
        let output = flamekeeper(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(err(&output).contains(expected), "{arguments:?}: {}", err(&output));
        assert!(!err(&output).contains("panicked"), "{arguments:?}: {}", err(&output));
    }
}

/// A configuration that cannot be read names the file.
#[test]
fn missing_configuration() {
    let output = flamekeeper(&["check-config", "agent", "/no/such/file.toml"]);
    assert!(!output.status.success() && err(&output).contains("/no/such/file.toml"), "{}", err(&output));
}
