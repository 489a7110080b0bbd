//! The workspace's own rules: who may depend on whom, which licences and packages are let in.

use std::collections::BTreeSet;

use flamekeeper_testing::{licence, metadata};

/// Who may depend on whom, dependencies of tests apart. Only `cli` and `testing` see both agent and
/// collector.
const DIRECTION: [(&str, &[&str]); 11] = [
    ("profile", &[]),
    ("heap", &[]),
    ("object", &["profile"]),
    ("wire", &["profile"]),
    ("symbolizer", &["object", "profile"]),
    ("transport", &[]),
    ("agent", &["heap", "object", "profile", "symbolizer", "transport", "wire"]),
    ("collector", &["profile", "symbolizer", "transport", "wire"]),
    ("cli", &["agent", "collector", "object", "profile", "symbolizer", "transport", "wire"]),
    ("fuzz", &["agent", "collector", "object", "profile", "symbolizer", "wire"]),
    ("testing", &["agent", "collector", "object", "profile", "symbolizer", "wire"]),
];

/// Packages that must not come in, and why.
const BANNED: [(&str, &str); 5] = [
    ("openssl", "links the host's OpenSSL, so that one binary no longer runs on every distribution"),
    ("openssl-sys", "as openssl"),
    ("native-tls", "as openssl"),
    ("chrono", "times are flamekeeper_profile::Timestamp"),
    ("time", "times are flamekeeper_profile::Timestamp"),
];

/// Packages let in under a licence that is not on the general list: file-level copyleft, which obliges nobody as long as
/// their files are not changed. All three come with symbolic-debuginfo (through its parser of text formats).
const EXCEPTIONS: [(&str, &str); 3] = [("brownstone", "MPL-2.0"), ("indent_write", "MPL-2.0"), ("nom-supreme", "MPL-2.0")];

/// What belongs to the collector and would make the agent large.
const NOT_IN_THE_AGENT: [&str; 10] = [
    "axum",
    "fjall",
    "flamekeeper-collector",
    "inferno",
    "regex",
    "reqwest",
    "symbolic-common",
    "symbolic-debuginfo",
    "symbolic-demangle",
    "symbolic-symcache",
];

/// Every package of the workspace depends on those below it only, and every one of them is in the list.
#[test]
fn dependencies_point_downwards() {
    let packages = metadata::packages().unwrap();
    let own: Vec<_> = packages.values().filter(|package| package.name.starts_with("flamekeeper-")).collect();
    assert_eq!(own.len(), DIRECTION.len(), "a package is missing from the list in this test");
    for (name, allowed) in DIRECTION {
        let package = own.iter().find(|package| package.name == format!("flamekeeper-{name}")).unwrap();
        let allowed: BTreeSet<String> = allowed.iter().map(|name| format!("flamekeeper-{name}")).collect();
        let wrong: Vec<_> = package.own_dependencies.difference(&allowed).collect();
        assert!(wrong.is_empty(), "flamekeeper-{name} must not depend on {wrong:?}");
    }
}

/// What `docs/security.md` says shows that something holds is there: every test by its name in its file, and every file.
#[test]
fn security_names_tests_that_exist() {
    let read = |path: &str| std::fs::read_to_string(metadata::root().join(path)).unwrap();
    let (text, mut tests) = (read("docs/security.md"), 0);
    for cell in text.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.rsplit(" | ").next()) {
        let mut names = Vec::new();
        for word in cell.split('`').skip(1).step_by(2) {
            if !word.ends_with(".rs") {
                names.push(word);
                continue;
            }
            let file = read(word);
            for name in names.drain(..) {
                tests += 1;
                // The names of the fuzz targets' tests are made by a macro.
                assert!(file.contains(&format!("fn {name}(")), "docs/security.md names {name}, which is not in {word}");
            }
        }
    }
    assert!(tests > 30, "{tests}");
}

/// Every dependency has a licence that the list allows.
#[test]
fn licences_are_allowed() {
    let mut wrong = Vec::new();
    for (name, package) in metadata::packages().unwrap() {
        let expression = package.licence.unwrap_or_default();
        if EXCEPTIONS.contains(&(package.name.as_str(), expression.as_str())) {
            continue;
        }
        if licence::is_allowed(&expression, &licence::ALLOWED) != Ok(true) {
            wrong.push(format!("{name}: {expression:?}"));
        }
    }
    assert!(wrong.is_empty(), "not in flamekeeper_testing::licence::ALLOWED:\n{}", wrong.join("\n"));
}

/// No banned package is anywhere in the lock file.
#[test]
fn banned_packages_stay_out() {
    let packages = metadata::packages().unwrap();
    for (name, reason) in BANNED {
        assert!(!packages.values().any(|package| package.name == name), "{name} is banned: {reason}");
    }
}

/// The slim agent is built without anything of the collector.
#[test]
fn the_agent_is_slim() {
    let compiled = metadata::compiled_into("flamekeeper-agent").unwrap();
    let wrong: Vec<_> = NOT_IN_THE_AGENT.iter().filter(|name| compiled.contains(**name)).collect();
    assert!(wrong.is_empty(), "compiled into flamekeeper-agent: {wrong:?}");
    assert!(compiled.contains("framehop"), "cargo tree answered something else: {compiled:?}");
}
