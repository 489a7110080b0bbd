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
    assert!(
        unknown.starts_with(
            "c.toml:4:1: unknown field `agee`, expected one of `age`, `minute_age`, `hour_age`, `max_bytes`, `min_free_bytes`"
        ),
        "{unknown}"
    );
    let wrong = error("[retention]\nage = \"3 weeks\"\n");
    assert!(wrong.starts_with("c.toml:2:7: expected an age from 1m to 3660d"), "{wrong}");
    assert!(error("listen = \"nowhere\"").starts_with("c.toml:1:10: "));
    assert!(error("listen = ").starts_with("c.toml:1:"));
    assert!(error("[symbols]\nconvert_nice = 20\n").contains("expected a whole number from 0 to 19"));
    assert!(error("[symbols]\nconvert_cpu = \"0s\"\n").contains("expected a time from 1s to 1d"));
    assert!(error("[symbols]\ndebuginfod_urls = [\"a:80\"]\n").contains("expected the address of a server"));
    assert!(error("store = \"oracle\"").contains("expected `embedded` or `clickhouse`"), "{}", error("store = \"oracle\""));
    assert!(error("[clickhouse]\ndatabase = \"a b\"").contains("expected a name of letters"));
    assert!(error("[deploys]\nwebhook_url = \"ftp://a\"\n").contains("expected the address of a webhook"));
    assert!(error("[deploys]\nwebhook_url = \"http://user:word@a\"\n").contains("expected the address of a webhook"));
    let token = |line: &str| error(&format!("[[access.tokens]]\nname = \"a\"\nscopes = [\"read\"]\n{line}\n"));
    assert!(token("").contains("expected either file"), "{}", token(""));
    assert!(token("credential = \"../x\"").contains("expected either file"));
    assert!(
        error("[[access.tokens]]\nname = \"a\"\nfile = \"/t\"\nscopes = [\"reed\"]\n").contains("`ingest`, `read`, `symbols`, `admin`")
    );
    assert!(error("[access]\ntrusted_peers = [\"10.0.0.0/40\"]\n").contains("expected an address or a network"));
    let missing = check_config(Path::new("/nonexistent/c.toml")).unwrap_err().to_string();
    assert!(missing.contains("/nonexistent/c.toml") && missing.contains("could not be read"), "{missing}");
}

/// What is printed reads back as the same, and nothing written means the defaults.
#[test]
fn prints_what_it_reads() {
    let config = RawConfig::parse(
        Path::new("c"),
        "listen = \"[::1]:80\"\ndata_dir = \"/a \\\"b\"\nstore = \"clickhouse\"\n[clickhouse]\nurl = \"https://ch:8443\"\nca = \"/ca\"\nclient_cert = \"/c\"\nclient_key = \"/k\"\ncluster = \"c1\"\nuser = \"u\"
password_file = \"/p\"\nquery_time = \"5s\"\nquery_memory = \"1GiB\"\n[retention]\nage = \"90m\"\nmax_bytes = \"1GiB\"
        [symbols]\nmax_bytes = \"2GiB\"\nconvert_memory = \"300MiB\"\nconvert_cpu = \"90s\"\nconvert_time = \"2h\"\nconvert_nice = 3\nconverter = \"/x\"
debuginfod_urls = [\"http://a:8002\", \"\", \"https://b/c\"]\ndebuginfod_ca = \"/ca.pem\"\ndebuginfod_ahead = false
[deploys]
webhook_url = \"https://chat.example/hook?key=1\"
webhook_ca = \"/ca\"
webhook_samples = 9
[access]\ntls_cert = \"/c\"\ntls_key = \"/k\"\nclient_ca = \"/a\"\ninsecure_listen = true\ntrusted_header = \"X-User\"
trusted_peers = [\"127.0.0.1\", \"10.0.0.0/8\"]\ntrusted_scopes = [\"read\"]\n[[access.tokens]]\nname = \"agents\"\nfile = \"/t\"
scopes = [\"ingest\", \"symbols\"]\n[[access.tokens]]\nname = \"ci\"\ncredential = \"ci\"\nscopes = [\"admin\"]",
    )
    .unwrap();
    let config = config.over(Config::default());
    assert_eq!(config.retention.raw, 90 * 60 * 1_000_000_000);
    assert_eq!((config.symbols.limits.memory_bytes, config.symbols.limits.nice), (300 << 20, 3));
    let debuginfod = &config.symbols.debuginfod;
    assert_eq!(debuginfod.urls, ["http://a:8002", "https://b/c"]);
    assert_eq!((debuginfod.ca.as_deref(), debuginfod.ahead), (Some(Path::new("/ca.pem")), false));
    assert!(Config::default().symbols.debuginfod.ahead);
    assert_eq!(config.access.tokens[0].scopes.to_string(), "ingest, symbols");
    assert_eq!(config.access.protection(config.listen), "protected by TLS, client certificates, 2 tokens, the header x-user of a proxy");
    assert_eq!(config.store_text(), "ClickHouse at https://ch:8443, database flamekeeper, cluster c1");
    assert_eq!((config.clickhouse.query_time.as_secs(), config.clickhouse.query_memory), (5, 1 << 30));
    assert_eq!((config.webhook.url.as_deref(), config.webhook.samples), (Some("https://chat.example/hook?key=1"), 9));
    let again = RawConfig::parse(Path::new("c"), &config.to_string()).unwrap();
    assert_eq!(again.over(Config::default()), config);
    assert_eq!(RawConfig::default().over(Config::default()), Config::default());
}
