//! Who is let in: each route with tokens of each scope, the page's cookie, a token that is exchanged, and where a collector does not start.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod ingest_server;
#[allow(dead_code)] // No shapes are looked at here.
mod schema;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use flamekeeper_collector::config::{AccessConfig, Config, TokenPlace, TokenSource};
use flamekeeper_collector::{Server, token_hash_line};
use flamekeeper_transport::{Scope, Scopes, Token};
use ingest_server::{Answer, Collector};

/// Writes a file of its own in the place of one that may be there, as `mv` does.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// A collector with a token of each scope, and those tokens.
fn guarded(folder: &Path) -> (Collector, BTreeMap<Scope, Token>) {
    let mut access = AccessConfig::default();
    let mut tokens = BTreeMap::new();
    for scope in Scope::ALL {
        let token = Token::random().unwrap();
        let file = folder.join(scope.as_str());
        // The collector of one of them has the hash alone.
        write(&file, &if scope == Scope::Admin { token_hash_line(&token) } else { token.reveal().to_owned() });
        let scopes = Scopes::from_iter([scope]);
        access.tokens.push(TokenSource { name: format!("{scope}-token"), place: TokenPlace::File(file), scopes });
        tokens.insert(scope, token);
    }
    let config = Config { listen: "127.0.0.1:0".parse().unwrap(), data_dir: folder.join("data"), access, ..Config::default() };
    (Collector::start_with(config), tokens)
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.reveal())
}

/// Every operation of the description is closed without a token, and opens to the scope that it states and to admin, and to no other.
#[test]
fn every_route_needs_its_scope() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, tokens) = guarded(folder.path());
    let document = collector.get("/api/v1/openapi.json").json();
    let everywhere = document["security"].clone();
    assert_eq!(everywhere, serde_json::json!([{ "token": ["read"] }]));
    let (mut closed, mut open) = (0, 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let address = schema::address(&document, path, operation);
            let (headers, body) = schema::body(operation);
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let what = format!("{method} {address}");
            let security = operation.get("security").unwrap_or(&everywhere);
            let Some(needed) = security[0]["token"][0].as_str() else {
                let status = collector.send(&method.to_uppercase(), &address, &headers, &body).status;
                // The one that takes a token answers like this to one that is wrong.
                assert!(status != 403 && (status != 401 || path == "/api/v1/session"), "{what}: {status}");
                open += 1;
                continue;
            };
            let without = collector.send(&method.to_uppercase(), &address, &headers, &body);
            without.refused(&[401], &what);
            assert!(without.header("www-authenticate").starts_with("bearer"), "{without:?}");
            for (scope, token) in &tokens {
                let value = bearer(token);
                let headers = [&headers[..], &[("Authorization", &*value)]].concat();
                let answer = collector.send(&method.to_uppercase(), &address, &headers, &body);
                if scope.as_str() == needed || *scope == Scope::Admin {
                    assert!(![0, 401, 403].contains(&answer.status), "{what} by {scope}: {answer:?}");
                } else {
                    answer.refused(&[403], &what);
                    assert!(String::from_utf8_lossy(&answer.body).contains(needed), "{what} by {scope}: {answer:?}");
                }
            }
            closed += 1;
        }
    }
    assert!(closed > 20 && open > 4, "{closed} {open}");
    // Whatever is answered, a browser takes it for nothing else.
    for path in ["/api/v1/status", "/healthz", "/explore"] {
        let answer = collector.get(path);
        assert_eq!((answer.header("x-content-type-options"), answer.header("referrer-policy")), ("nosniff", "no-referrer"), "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
    // The page itself has no secret, and what is not known is closed.
    assert!([200, 404].contains(&collector.get("/explore").status));
    collector.get("/api/v1/nothing").refused(&[401], "nothing");
    collector.stop();
}

/// The page's form: a token becomes a cookie that scripts cannot read and other sites cannot use, and ends.
#[test]
fn page_keeps_a_token_in_a_cookie() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, tokens) = guarded(folder.path());
    let give = |token: &str, more: &[(&str, &str)]| -> Answer {
        let body = serde_json::json!({ "token": token }).to_string();
        collector.send("POST", "/api/v1/session", &[&[("Content-Type", "application/json")], more].concat(), body.as_bytes())
    };
    give("guessed", &[]).refused(&[401], "guessed");
    give(tokens[&Scope::Ingest].reveal(), &[]).refused(&[403], "no scope to read");
    give(tokens[&Scope::Read].reveal(), &[("Sec-Fetch-Site", "cross-site")]).refused(&[403], "by another site");
    let given = give(tokens[&Scope::Read].reveal(), &[]);
    assert_eq!((given.status, given.json()["scopes"].clone()), (200, serde_json::json!(["read"])));
    let cookie = given.header("set-cookie").to_owned();
    for attribute in ["httponly", "samesite=strict", "path=/", "max-age="] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("secure") && give(tokens[&Scope::Read].reveal(), &[("Origin", "https://x")]).header("set-cookie").is_empty());
    let proxied = give(tokens[&Scope::Read].reveal(), &[("X-Forwarded-Proto", "https")]);
    assert!(proxied.header("set-cookie").contains("; secure"), "{proxied:?}");

    let kept = format!("other=1; flamekeeper_token={}", tokens[&Scope::Read].reveal());
    let by_page = |method: &str, path: &str, more: &[(&str, &str)]| {
        collector.send(method, path, &[&[("Cookie", kept.as_str())], more].concat(), b"").status
    };
    assert_eq!(by_page("GET", "/api/v1/services?from=-1h", &[]), 200);
    assert_eq!(by_page("DELETE", "/api/v1/symbols/gnu:abcdef0123456789", &[]), 403, "the cookie's token may read only");
    let admin = format!("flamekeeper_token={}", tokens[&Scope::Admin].reveal());
    let remove = |site: &str| {
        let headers = [("Cookie", admin.as_str()), ("Sec-Fetch-Site", site)];
        collector.send("DELETE", "/api/v1/symbols/gnu:abcdef0123456789", &headers, b"").status
    };
    assert_eq!((remove("cross-site"), remove("same-origin")), (403, 404));
    let session = collector.send("GET", "/api/v1/session", &[("Cookie", &kept)], b"").json();
    assert_eq!((session["name"].as_str(), session["needed"].as_bool()), (Some("read-token"), Some(true)));
    let ended = collector.send("DELETE", "/api/v1/session", &[("Cookie", &kept)], b"");
    assert!(ended.status == 204 && ended.header("set-cookie").contains("max-age=0"), "{ended:?}");
    // All of it was counted, by reason.
    let read = bearer(&tokens[&Scope::Read]);
    let metrics = collector.send("GET", "/metrics", &[("Authorization", &read)], b"");
    let metrics = String::from_utf8(metrics.body).unwrap();
    for line in ["flamekeeper_access_refused_total{reason=\"origin\"} 3", "flamekeeper_access_tokens 4"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    collector.stop();
}

/// A token is exchanged while the collector runs: both are good for as long as both stand in the file.
#[test]
fn token_is_exchanged() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, tokens) = guarded(folder.path());
    let (old, new) = (bearer(&tokens[&Scope::Read]), Token::random().unwrap());
    let status = |value: &str| collector.send("GET", "/api/v1/queries", &[("Authorization", value)], b"").status;
    let until = |value: &str, wanted: u16| {
        let start = Instant::now();
        while status(value) != wanted {
            assert!(start.elapsed() < Duration::from_secs(60), "no {wanted}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    assert_eq!((status(&old), status(&bearer(&new))), (200, 401));
    let file = folder.path().join("read");
    write(&file, &format!("{}\n{}\n", tokens[&Scope::Read].reveal(), new.reveal()));
    until(&bearer(&new), 200);
    assert_eq!(status(&old), 200);
    write(&file, new.reveal());
    until(&old, 401);
    assert_eq!(status(&bearer(&new)), 200);
    collector.stop();
}

/// A collector does not start open to other hosts, nor with tokens that everybody may read; it says what to do.
#[test]
fn does_not_start_open() {
    let folder = tempfile::tempdir().unwrap();
    let start = |access: AccessConfig| {
        let config = Config { listen: "0.0.0.0:0".parse().unwrap(), data_dir: folder.path().join("data"), access, ..Config::default() };
        Server::bind(config).map_err(|error| format!("{error:#}"))
    };
    let error = start(AccessConfig::default()).unwrap_err();
    assert!(error.contains("--insecure-listen") && error.contains("0.0.0.0"), "{error}");
    assert!(!folder.path().join("data").exists());
    let file = folder.path().join("token");
    write(&file, Token::random().unwrap().reveal());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let place = TokenPlace::File(file.clone());
    let tokens = vec![TokenSource { name: "people".into(), place, scopes: Scopes::all() }];
    let access = AccessConfig { tokens, ..AccessConfig::default() };
    let error = start(access.clone()).unwrap_err();
    assert!(error.contains("chmod o-rwx") && error.contains("people"), "{error}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let server = start(access).unwrap();
    assert_eq!(server.protection(), "protected by 1 token");
    drop(server);
    let server = start(AccessConfig { insecure_listen: true, ..AccessConfig::default() }).unwrap();
    assert!(server.protection().contains("EVERYBODY"), "{}", server.protection());
}
