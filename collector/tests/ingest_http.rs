//! What agents and strangers send, over the real server and a real store: good batches, repeats, damage, floods.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod ingest_server;
mod store_fixture;

use std::io::Write as _;
use std::time::Duration;

use flamekeeper_profile::{Batch, SampleType, Timestamp, Window};
use flamekeeper_wire::{BatchCheck, encode, gzip};
use ingest_server::{Answer, Collector, PROFILES};
use store_fixture::{Random, SECOND};

/// A batch of a minute ago, by the collector's own clock.
fn recent(collector: &Collector, seed: u64) -> Batch {
    let started = Timestamp::from_seconds(collector.status()["started"].as_f64().unwrap());
    let mut batch = store_fixture::batch(&mut Random::new(seed));
    let from = started.saturating_sub(60 * SECOND);
    batch.window = Window::new(from, from.saturating_add(10 * SECOND));
    // The wire carries a series only with its values.
    batch.series.retain(|series| !series.values.is_empty());
    batch
}

/// The first batch that has CPU samples of a service.
fn with_samples(collector: &Collector) -> Batch {
    let has = |batch: &Batch| batch.series.iter().any(|series| series.sample_type.is_periodic());
    (0..).map(|seed| recent(collector, seed)).find(has).unwrap()
}

fn outcome(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.is_empty());
    answer.header("flamekeeper-batch")
}

/// A batch is accepted once, known when it is repeated and after a restart, and is what the API answers with.
#[test]
fn accepted_once() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    assert_eq!(collector.get("/healthz").status, 200);
    let batch = with_samples(&collector);
    let body = encode(&batch);
    let key = ("Idempotency-Key", "agent_1-7");
    assert_eq!(outcome(&collector.post(&[key], &body)), "accepted");
    assert_eq!(outcome(&collector.post(&[key, ("Content-Encoding", "gzip")], &gzip::compress(&body))), "duplicate");
    let status = collector.status();
    assert_eq!((status["batches"].as_u64(), status["duplicates"].as_u64()), (Some(1), Some(1)));
    assert_eq!(status["samples_stored"].as_u64(), Some(batch.samples()));
    assert_eq!(status["samples_taken"].as_u64(), Some(batch.ledger.taken));
    let flamegraph = collector.get("/api/v1/flamegraph?from=-15m").json();
    assert_eq!(flamegraph["samples"].as_u64(), Some(batch.samples()));
    collector.stop();
    let collector = Collector::start(folder.path());
    assert_eq!(outcome(&collector.post(&[key], &body)), "duplicate");
    assert_eq!(collector.get("/api/v1/flamegraph?from=-15m").json()["total"], flamegraph["total"]);
    collector.stop();
}

/// Without a key the same bytes are known as the same batch, and other bytes are another.
#[test]
fn senders_without_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let (one, other) = (encode(&recent(&collector, 1)), encode(&recent(&collector, 2)));
    assert_eq!(outcome(&collector.post(&[], &one)), "accepted");
    assert_eq!(outcome(&collector.post(&[], &one)), "duplicate");
    assert_eq!(outcome(&collector.post(&[], &other)), "accepted");
    collector.stop();
}

/// Everything that is wrong with a request is refused by name, changes nothing, and good batches are taken afterwards.
#[test]
fn hostile_requests() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let key = ("Idempotency-Key", "agent_1-1");
    let zipped = ("Content-Encoding", "gzip");
    let good = recent(&collector, 5);
    let body = encode(&good);
    let packed = gzip::compress(&body);
    collector.post(&[key, zipped], &packed[..packed.len() - 5]).refused(&[400], "truncated gzip");
    collector.post(&[key, zipped], &body).refused(&[400], "no gzip");
    collector.post(&[key, ("Content-Encoding", "zstd")], &body).refused(&[415], "an encoding that is not known");
    collector.post(&[key], &packed).refused(&[400], "gzip that does not say so");
    let bomb = gzip::compress(&vec![0; 80 << 20]);
    collector.post(&[key, zipped], &bomb).refused(&[413], "a bomb");
    for bad in ["", "agent", "../../etc-1", "agent_1--1", "AGENT-1", "agent_1-99999999999999999999999"] {
        collector.post(&[("Idempotency-Key", bad)], &body).refused(&[400], bad);
    }
    for (from, length, what) in
        [(-4 * 86_400, 10, "too old"), (7200, 10, "in the future"), (366 * 86_400, 10, "in the next year"), (-60, 90_000, "too long")]
    {
        let mut batch = good.clone();
        let from = Timestamp(good.window.from.0.wrapping_add_signed(from * SECOND.cast_signed()));
        batch.window = Window::new(from, from.saturating_add(length * SECOND));
        collector.post(&[key], &encode(&batch)).refused(&[400], what);
    }
    let refused = &collector.status()["refused"];
    assert_eq!((refused["future"].as_u64(), refused["too_old"].as_u64(), refused["too_long"].as_u64()), (Some(2), Some(1), Some(1)));
    let mut long = with_samples(&collector);
    let name = "x".repeat(16_000);
    let sample_type = SampleType { name: name.as_str().into(), unit: name.as_str().into(), ..SampleType::cpu(1) };
    let endless = SampleType { period_name: name.as_str().into(), period_unit: name.as_str().into(), ..sample_type };
    long.series[0].sample_type = SampleType { name: format!("{name}{}", "y".repeat(384)).into(), ..endless };
    let answer = collector.post(&[key], &encode(&long));
    assert!([200, 400, 413].contains(&answer.status), "{answer:?}");
    assert_eq!(outcome(&collector.post(&[("Idempotency-Key", "agent_1-2")], &body)), "accepted");
    assert_eq!(collector.get("/healthz").status, 200);
    collector.stop();
}

/// A batch that states its sum is taken as it was sent or not at all: with any bit of its identity, encoding or body turned over it is
/// to be sent again, and what is sent again as it was is taken, once.
#[test]
fn damaged_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let body = gzip::compress(&encode(&with_samples(&collector)));
    let sum = BatchCheck::of(&"agent_1-12".parse().unwrap(), "gzip", &body).to_string();
    let mut turned = body.clone();
    turned[body.len() / 2] ^= 4;
    let ways: [(&str, Option<&str>, &str, &[u8]); 6] = [
        ("agent_1-12", Some("gzip"), &sum, &turned),
        ("agent_1-12", Some("gzip"), &sum, &body[..body.len() - 1]),
        ("agent_1-13", Some("gzip"), &sum, &body),
        ("agent/1-12", Some("gzip"), &sum, &body),
        ("agent_1-12", None, &sum, &body),
        ("agent_1-12", Some("gzip"), "0000000", &body),
    ];
    for (key, encoding, sum, body) in ways {
        let mut headers = vec![("Idempotency-Key", key), ("Flamekeeper-Check", sum)];
        headers.extend(encoding.map(|encoding| ("Content-Encoding", encoding)));
        collector.post(&headers, body).refused(&[408], "damaged on the way");
    }
    let whole = [("Idempotency-Key", "agent_1-12"), ("Flamekeeper-Check", &*sum), ("Content-Encoding", "gzip")];
    assert_eq!(outcome(&collector.post(&whole, &body)), "accepted");
    assert_eq!(outcome(&collector.post(&whole, &body)), "duplicate");
    let status = collector.status();
    assert_eq!((status["batches"].as_u64(), status["refused"]["damaged_on_the_way"].as_u64()), (Some(1), Some(6)), "{status}");
}

/// Bodies cut at any byte and bodies of random bytes are refused or, where they are still a message, taken; none harms.
#[test]
fn damaged_bodies() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let body = encode(&with_samples(&collector));
    let mut random = Random::new(9);
    for number in 0..150_u64 {
        let mut damaged = body.clone();
        match number % 3 {
            0 => damaged.truncate(random.below(body.len() as u64) as usize),
            1 => damaged.iter_mut().for_each(|byte| *byte = random.next() as u8),
            _ => (0..4).for_each(|_| damaged[random.below(body.len() as u64) as usize] ^= random.next() as u8),
        }
        let answer = collector.post(&[("Idempotency-Key", &format!("damage-{number}"))], &damaged);
        assert!([200, 400, 413].contains(&answer.status), "{number}: {answer:?}");
    }
    assert_eq!(outcome(&collector.post(&[("Idempotency-Key", "good-1")], &body)), "accepted");
    for path in ["flamegraph", "flamegraph?format=pprof", "top", "timeseries", "hosts", "services", "types"] {
        assert_eq!(collector.get(&format!("/api/v1/{path}")).status, 200, "{path}");
    }
    collector.stop();
}

/// Bodies that are larger than they may be, or end before their length, are told so however they come.
#[test]
fn wrong_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let head = collector.head("POST", PROFILES, &[("Idempotency-Key", "agent_1-1")]);
    let stated = format!("{head}Content-Length: 99999999999\r\n\r\n");
    collector.raw(stated.as_bytes()).refused(&[413], "a stated length of 100 GB");
    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..20 {
        chunked.extend_from_slice(b"100000\r\n");
        chunked.extend(std::iter::repeat_n(0, 1 << 20));
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answer = collector.raw(&chunked);
    // A client that is still sending may see its connection reset before it reads the answer.
    assert!([413, 0].contains(&answer.status), "{answer:?}");
    let answer = collector.cut(format!("{head}Content-Length: 1000\r\n\r\n0123456789").as_bytes());
    assert!([400, 408, 0].contains(&answer.status), "{answer:?}");
    assert_eq!(collector.status()["batches"].as_u64(), Some(0));
    collector.stop();
}

/// Senders that hold back what they announced take up room only up to the limit; then others are sent away for a while, and
/// served again afterwards.
#[test]
fn pressure() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let body = encode(&recent(&collector, 3));
    let head = collector.head("POST", PROFILES, &[("Idempotency-Key", "slow-1")]);
    let slow: Vec<_> = (0..16)
        .map(|_| {
            let mut stream = collector.connect();
            stream.write_all(format!("{head}Content-Length: {}\r\n\r\nx", 16 << 20).as_bytes()).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let answer = collector.post(&[("Idempotency-Key", "agent_1-1")], &body);
    answer.refused(&[503, 429], "no room");
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    assert_eq!(collector.get("/healthz").status, 200);
    drop(slow);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(outcome(&collector.post(&[("Idempotency-Key", "agent_1-1")], &body)), "accepted");
    collector.stop();
}

/// Many agents at once: each batch is stored once, whoever was sent away in between.
#[test]
fn many_agents() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let batches: Vec<Batch> = (0..8).map(|seed| recent(&collector, seed)).collect();
    let bodies: Vec<Vec<u8>> = batches.iter().map(encode).collect();
    std::thread::scope(|scope| {
        for agent in 0..40 {
            let (collector, bodies) = (&collector, &bodies);
            scope.spawn(move || {
                for (number, body) in bodies.iter().enumerate() {
                    let key = format!("agent_{agent}-{number}");
                    while collector.post(&[("Idempotency-Key", &key)], body).status != 200 {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
            });
        }
    });
    let status = collector.status();
    assert_eq!(status["batches"].as_u64(), Some(320));
    assert_eq!(status["samples_stored"].as_u64(), Some(40 * batches.iter().map(Batch::samples).sum::<u64>()));
    collector.stop();
}

/// The page, its places and its files come with what keeps a browser safe and quick; what is not there is told as an error.
#[test]
fn page() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    for path in ["/", "/explore", "/index.html"] {
        let answer = collector.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(answer.header("cache-control"), "no-cache");
    }
    let index = String::from_utf8(collector.get("/").body).unwrap();
    let script = index.split('"').find(|text| text.ends_with(".js")).unwrap();
    let answer = collector.send("GET", script, &[("Accept-Encoding", "gzip")], b"");
    assert_eq!((answer.status, answer.header("content-encoding")), (200, "gzip"));
    assert!(answer.header("cache-control").contains("immutable"));
    let plain = collector.get(script);
    assert_eq!(gzip::decompress(&answer.body, 16 << 20).unwrap(), plain.body);
    let again = collector.send("GET", script, &[("If-None-Match", plain.header("etag"))], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    for path in ["/assets/none.js", "/api/v1/none", "/../../etc/passwd"] {
        collector.get(path).refused(&[400, 404], path);
    }
    // Only what was built in can be had; any other path is at most a place within the page.
    assert_eq!(collector.get("/%2e%2e/%2e%2e/etc/passwd").body, collector.get("/").body);
    assert_eq!(collector.send("PUT", "/explore", &[], b"").status, 405);
    collector.stop();
}

/// Uploads that are none are refused by name.
#[test]
fn symbols() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let put = |id: &str, headers: &[(&str, &str)], body: &[u8]| collector.send("PUT", &format!("/api/v1/symbols/{id}"), headers, body);
    put("gnu:..%2f..%2fx", &[], b"x").refused(&[400], "a build id that is a path");
    put("gnu:abcd", &[], b"\x7fELF but not really").refused(&[400, 422], "no object");
    put("gnu:abcd", &[("Content-Encoding", "gzip")], b"\x1f\x8b").refused(&[400], "truncated gzip");
    collector.stop();
}

/// A second collector on the directory is told so, and one on a taken address too.
#[test]
fn two_collectors() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let config = |listen: String, data_dir: &std::path::Path| flamekeeper_collector::config::Config {
        listen: listen.parse().unwrap(),
        data_dir: data_dir.into(),
        ..flamekeeper_collector::config::Config::default()
    };
    let error = flamekeeper_collector::Server::bind(config("127.0.0.1:0".into(), folder.path())).unwrap_err();
    assert!(format!("{error:#}").contains("another process"), "{error:#}");
    let other = tempfile::tempdir().unwrap();
    let error = flamekeeper_collector::Server::bind(config(collector.address.to_string(), other.path())).unwrap_err();
    assert!(format!("{error:#}").contains("cannot listen"), "{error:#}");
    collector.stop();
}

/// A count of requests that is posted twice counts once, by its key or by all of it, also after a restart; and one that is too large is refused.
#[test]
fn counts_of_requests() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let post = |collector: &Collector, key: &[(&str, &str)], count: u64| {
        let now = collector.status()["started"].as_f64().unwrap().floor();
        let body = serde_json::json!({ "service": "api", "from": now - 300.0, "to": now - 240.0, "count": count }).to_string();
        let headers = [&[("Content-Type", "application/json")], key].concat();
        let answer = collector.send("POST", "/api/v1/requests", &headers, body.as_bytes());
        (answer.status, answer.json()["result"].as_str().unwrap_or_default().to_owned())
    };
    let (accepted, duplicate) = ((201, "accepted".to_owned()), (200, "duplicate".to_owned()));
    assert_eq!(post(&collector, &[], 60), accepted);
    assert_eq!(post(&collector, &[], 60), duplicate);
    assert_eq!(post(&collector, &[("Idempotency-Key", "balancer 1, minute 7")], 60), accepted);
    assert_eq!(post(&collector, &[("Idempotency-Key", "balancer 1, minute 7")], 61), duplicate);
    let sum = |collector: &Collector| collector.get("/api/v1/requests?from=-1h").json()["requests"][0]["count"].as_u64();
    assert_eq!(sum(&collector), Some(120));
    collector.stop();
    let collector = Collector::start(folder.path());
    assert_eq!((post(&collector, &[("Idempotency-Key", "balancer 1, minute 7")], 5), sum(&collector)), (duplicate, Some(120)));
    let json = [("Content-Type", "application/json")];
    let large = format!(r#"{{"service": "{}", "from": "-1m", "count": 5}}"#, "x".repeat(20_000));
    collector.send("POST", "/api/v1/requests", &json, large.as_bytes()).refused(&[400, 413], "a large body");
    let bad_key = [json[0], ("Idempotency-Key", &*"x".repeat(300))];
    collector.send("POST", "/api/v1/requests", &bad_key, br#"{"service": "api", "from": "-1m", "count": 5}"#).refused(&[400], "a long key");
    collector.stop();
}
