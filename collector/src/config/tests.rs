//! What is written becomes what was meant, or an error with its place.

use std::path::Path;

use super::{Config, RawConfig, check_config};

fn error(text: &str) -> String {
    RawConfig::parse(Path::new("c.toml"), text).unwrap_err().to_string()
}

/// A mistake is told with file, line, column and what was expected.
#[test]
fn mistakes_have_places() {
    let unknown = error("listen = \"127.0.0.1:1\"\n\n[retention]\nagee = \"3d\"\n");
    assert!(unknown.starts_with("c.toml:4:1: unknown field `agee`, expected `age` or `max_bytes`"), "{unknown}");
    let wrong = error("[retention]\nage = \"3 weeks\"\n");
    assert!(wrong.starts_with("c.toml:2:7: expected an age from 1m to 3660d"), "{wrong}");
    assert!(error("listen = \"nowhere\"").starts_with("c.toml:1:10: "));
    assert!(error("listen = ").starts_with("c.toml:1:"));
    let missing = check_config(Path::new("/nonexistent/c.toml")).unwrap_err().to_string();
    assert!(missing.contains("/nonexistent/c.toml") && missing.contains("could not be read"), "{missing}");
}

/// What is printed reads back as the same, and nothing written means the defaults.
#[test]
fn prints_what_it_reads() {
    let config = RawConfig::parse(
        Path::new("c"),
        "listen = \"[::1]:80\"\ndata_dir = \"/a \\\"b\"\n[retention]\nage = \"90m\"\nmax_bytes = \"1GiB\"",
    )
    .unwrap();
    let config = config.over(Config::default());
    assert_eq!(config.retention.age, 90 * 60 * 1_000_000_000);
    let again = RawConfig::parse(Path::new("c"), &config.to_string()).unwrap();
    assert_eq!(again.over(Config::default()), config);
    assert_eq!(RawConfig::default().over(Config::default()), Config::default());
}
