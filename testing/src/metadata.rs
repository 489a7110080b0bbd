//! The workspace as cargo sees it: packages, their licences, and who depends on whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The workspace's directory.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A package of the dependency graph.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence expression.
    pub licence: Option<String>,
    /// Names of the workspace's own packages that it depends on, other than for its tests.
    pub own_dependencies: BTreeSet<String>,
}

/// All packages that the lock file holds, by `name version`.
///
/// # Errors
/// When `cargo metadata` fails or answers something unknown.
pub fn packages() -> Result<BTreeMap<String, Package>> {
    let output = cargo(&["metadata", "--format-version", "1", "--locked"])?;
    let metadata: Value = serde_json::from_str(&output).context("cannot read the answer of cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    Ok(packages.iter().map(package).map(|package| (format!("{} {}", package.name, package.version), package)).collect())
}

fn package(value: &Value) -> Package {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let dependencies = value["dependencies"].as_array().into_iter().flatten();
    let own = dependencies.filter(|dependency| dependency["path"].is_string() && dependency["kind"] != "dev");
    Package {
        name: text("name"),
        version: text("version"),
        licence: value["license"].as_str().map(str::to_owned),
        own_dependencies: own.filter_map(|dependency| dependency["name"].as_str().map(str::to_owned)).collect(),
    }
}

/// Names of all packages that are compiled into a package when it is built alone (with its own features only, which the
/// graph of the whole workspace cannot tell).
///
/// # Errors
/// When `cargo tree` fails.
pub fn compiled_into(package: &str) -> Result<BTreeSet<String>> {
    let output = cargo(&["tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none", "--no-dedupe"])?;
    Ok(output.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn cargo(arguments: &[&str]) -> Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(arguments).current_dir(root()).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo {} failed: {}", arguments[0], String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("cargo's answer is not UTF-8")
}
