//! The API's GET side over a real connection.

#![allow(clippy::unwrap_used)] // What is called by tests may fail as they do; the lint exempts the tests themselves only.

mod query_fixture;
mod query_server;

use std::io::Write as _;
use std::time::Duration;

use flamekeeper_collector::http::QueryLimits;
use flamekeeper_profile::memory::{MemoryKind, over_time};
use flamekeeper_profile::{
    AgentFigures, Batch, Figure, FrameKind, Labels, Ledger, LossReason, SampleType, Series, StackEnd, StopReason, Svma, Tables, Timestamp,
    Window,
};
use query_fixture::PERIOD;
use query_server::{Answer, NOW, Server};
use serde_json::{Value, json};

/// 10 s at `start` seconds on a host: `api` 1.4 with 3 samples of `main > work` and 1 cut one, `db` with 5 of `query`.
fn batch(host: &str, start: u64) -> Batch {
    let mut tables = Tables::new();
    let [main, work, query] = ["main", "work", "query"].map(|name| tables.intern_named(FrameKind::Native, None, Svma(0), name));
    let whole = tables.intern_stack(&[work, main], StackEnd::Root);
    let cut = tables.intern_stack(&[work], StackEnd::Truncated(StopReason::CopyExhausted));
    let db = tables.intern_stack(&[query], StackEnd::Root);
    let host_labels = Labels::new().with("host", host).with("agent.version", "0.1.0");
    let labels = |service: &str, version: &str| Labels::new().with("host", host).with("service", service).with("version", version);
    let series = |labels, values| Series { labels, sample_type: SampleType::cpu(PERIOD), values };
    let mut ledger = Ledger::new();
    ledger.take(11);
    ledger.lose(LossReason::RingFull, 2);
    let mut figures = AgentFigures::default();
    figures.set(Figure::MemoryBytes, 30_000_000);
    figures.set(Figure::FrequencySteps, 0);
    Batch {
        window: Window::new(Timestamp(start * Timestamp::SECOND), Timestamp((start + 10) * Timestamp::SECOND)),
        labels: host_labels,
        tables,
        series: vec![series(labels("api", "1.4"), vec![(whole, 3), (cut, 1)]), series(labels("db", ""), vec![(db, 5)])],
        ledger,
        figures,
    }
}

/// Two hosts, three windows, the last of them 10 s before now.
fn server() -> Server {
    let server = Server::start(QueryLimits::default());
    for (host, start) in [("web-1", 1_764_000_900), ("web-1", 1_764_000_910), ("web-2", 1_764_000_980)] {
        server.store.push(batch(host, start));
    }
    server
}

const API: &str = "query=%7Bservice%3D%22api%22%7D";
const CLOSED: &str = "from=1764000600&to=1764000800";

fn error(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()["error"].as_str().unwrap().to_owned()
}

/// The default question is the CPU of everything in the last 15 minutes; a selector and a window narrow it.
#[test]
fn flamegraph_of_a_selection() {
    let server = server();
    let all = server.json("/api/v1/flamegraph");
    assert_eq!((all["total"].as_u64(), all["samples"].as_u64(), all["unit"].as_str()), (Some(27 * PERIOD), Some(27), Some("nanoseconds")));
    assert_eq!((all["completeness"]["lost"].clone(), all["completeness"]["truncated"].as_u64()), (json!({"ring_full": 6}), Some(3)));
    let api = server.json(&format!("/api/v1/flamegraph?{API}&min_share=0"));
    assert_eq!(api["samples"], 12);
    assert_eq!(api["strings"], json!(["", "main", "work", "[truncated: copy_exhausted]"]));
    assert_eq!(api["nodes"]["depth"], json!([0, 1, 2, 1, 2]));
    assert_eq!(api["nodes"]["self"], json!([0, 0, 9 * PERIOD, 0, 3 * PERIOD]));
    let late = server.json(&format!("/api/v1/flamegraph?{API}&from=1764000980&to=2025-11-24T16:16:40Z"));
    assert_eq!((late["samples"].as_u64(), late["to"].as_f64()), (Some(4), Some(1_764_001_000.0)));
    let host = server.json("/api/v1/flamegraph?query=host%3D~%22web-%5B2%5D%22%2Cservice%21%3D%22api%22");
    assert_eq!(host["samples"], 5);
    let zoomed = server.json(&format!("/api/v1/flamegraph?{API}&path=main%1Fwork"));
    assert_eq!((zoomed["samples"].as_u64(), zoomed["completeness"]["truncated"].as_u64()), (Some(9), Some(0)));
    let nothing = server.json("/api/v1/flamegraph?type=heap");
    assert_eq!((nothing["total"].as_u64(), nothing["nodes"]["depth"].clone()), (Some(0), json!([0])));
}

/// Each format comes with its content type.
#[test]
fn formats() {
    let server = server();
    let folded = server.ask(&format!("/api/v1/flamegraph?{API}&format=folded"), "");
    assert_eq!(folded.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(folded.text(), format!("main;work {}\n[truncated: copy_exhausted];work {}\n", 9 * PERIOD, 3 * PERIOD));
    let svg = server.ask(&format!("/api/v1/flamegraph?{API}&format=svg"), "");
    assert_eq!(svg.header("content-type"), Some("image/svg+xml"));
    assert!(svg.text().contains("cpu of {service=&quot;api&quot;}"), "{}", svg.text());
    let pprof = server.ask("/api/v1/flamegraph?format=pprof", "");
    assert_eq!(pprof.header("content-disposition"), Some("attachment; filename=\"profile.pb.gz\""));
    assert_eq!(&pprof.body[..2], [0x1f, 0x8b]);
}

/// Functions by self.
#[test]
fn top() {
    let server = server();
    let top = server.json("/api/v1/top?limit=1");
    assert_eq!((top["total"].as_u64(), top["functions_total"].as_u64()), (Some(27 * PERIOD), Some(3)));
    assert_eq!((top["functions"][0]["name"].as_str(), top["functions"][0]["self"].as_u64()), (Some("query"), Some(15 * PERIOD)));
    assert_eq!(server.json("/api/v1/top?limit=0")["functions"].as_array().unwrap().len(), 3);
}

/// Values stand in their steps, and what is not shown is in the rest.
#[test]
fn timeseries() {
    let server = server();
    let series = server.json("/api/v1/timeseries?from=1764000900&to=1764001000&limit=1");
    assert_eq!((series["step"].as_f64(), series["points"].as_u64()), (Some(10.0), Some(10)));
    let at = |per_window: u64| json!([per_window, per_window, 0, 0, 0, 0, 0, 0, per_window, 0]);
    assert_eq!(series["series"], json!([{"label": "db", "values": at(5 * PERIOD)}]));
    assert_eq!(series["rest"], at(4 * PERIOD));
    assert_eq!((series["completeness"]["samples"].as_u64(), series["completeness"].get("unnamed")), (Some(27), None));
    let hosts = server.json("/api/v1/timeseries?from=1764000900&to=1764001000&by=host&step=50");
    assert_eq!(hosts["series"][0], json!({"label": "web-1", "values": [18 * PERIOD, 0]}));
}

/// Services, hosts, labels, values, types.
#[test]
fn catalog() {
    let server = server();
    let services = server.json("/api/v1/services");
    let expected = json!([
        {"service": "db", "versions": [], "hosts": 2, "value": 15 * PERIOD, "unit": "nanoseconds", "samples": 15},
        {"service": "api", "versions": ["1.4"], "hosts": 2, "value": 12 * PERIOD, "unit": "nanoseconds", "samples": 12},
    ]);
    assert_eq!(services["services"], expected);
    let host = &server.json("/api/v1/hosts?from=-1h")["hosts"][0];
    let expected = json!({
        "host": "web-1", "agent_version": "0.1.0", "last_seen": 1_764_000_920.0, "samples": 18, "lost": {"ring_full": 4}, "caveats": {}, "truncated": 2,
        "figures": {"memory_bytes": 30_000_000, "frequency_steps": 0},
    });
    assert_eq!(*host, expected);
    assert_eq!(server.json("/api/v1/labels"), json!({"labels": ["host", "service", "version"]}));
    assert_eq!(server.json("/api/v1/labels/service/values"), json!({"values": ["api", "db"]}));
    assert_eq!(server.json(&format!("/api/v1/labels/service/values?{API}")), json!({"values": ["api"]}));
    assert_eq!(server.json("/api/v1/labels/nothing/values"), json!({"values": []}));
    assert_eq!(server.json("/api/v1/types"), json!({"types": [{"type": "cpu", "unit": "nanoseconds"}]}));
}

/// 10 s of the memory of two services: `api` grows by 1 MiB/s, `db` has 64 MiB, and neither was sampled.
fn memory(number: u64) -> Batch {
    let mut batch = batch("web-1", 1_764_000_000 + number * 10);
    let labels = |service: &str| Labels::new().with("host", "web-1").with("service", service);
    let stack = batch.tables.intern_stack(&[], StackEnd::Root);
    let level = |service: &str, mib: u64| Series {
        labels: labels(service),
        sample_type: MemoryKind::Anonymous.sample_type(),
        values: vec![(stack, over_time(u128::from(mib << 20) * u128::from(10 * Timestamp::SECOND)))],
    };
    batch.series = vec![level("api", 100 + number * 10), level("db", 64)];
    batch.ledger = Ledger::new();
    batch.figures.set(Figure::HostMemoryBytes, 8 << 30);
    batch.figures.set(Figure::HostAvailableBytes, 3600 << 20);
    batch
}

/// Levels are means, in bytes, over whatever time is asked for; what grows is named with its slope and how long the host's memory lasts; a
/// service that was not sampled has used no CPU time.
#[test]
fn memory_over_time() {
    let server = Server::start(QueryLimits::default());
    (0..90).for_each(|number| server.store.push(memory(number)));
    let window = "from=1764000000&to=1764000900";
    let answer = server.json(&format!("/api/v1/memory?{window}"));
    let told = |service: usize| answer["services"][service].clone();
    assert_eq!((answer["growing"].as_u64(), answer["step"].as_f64()), (Some(1), Some(10.0)));
    assert_eq!(
        (told(0)["service"].clone(), told(0)["verdict"].clone(), told(1)["verdict"].clone()),
        (json!("api"), json!("grows"), json!("flat"))
    );
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(
        (number(&told(0)["slope"]) - 1_048_576.0).abs() < 1.0 && (number(&told(0)["limit"]["seconds"]) - 3600.0).abs() < 1.0,
        "{}",
        told(0)
    );
    assert_eq!(told(1)["limit"]["seconds"], Value::Null);
    let one = server.json(&format!("/api/v1/memory?service=db&{window}"));
    assert_eq!((one["services_total"].clone(), one["services"][0]["levels"]["memory_anon"][7].clone()), (json!(1), json!(64 << 20)));
    assert_eq!(server.json("/api/v1/memory?from=1764000700&to=1764000900&limit=1")["services"].as_array().unwrap().len(), 1);
    assert!(error(&server.ask("/api/v1/memory?limit=0", ""), 400).contains("from 1 to 1000"));
    // In steps of a minute, a straight line has the mean of six windows.
    let series = server.json(&format!("/api/v1/timeseries?type=memory_anon&{window}&step=60"));
    assert_eq!((series["unit"].clone(), series["series"][0]["values"][1].clone()), (json!("bytes"), json!(185 << 20)));
    let graph = server.json(&format!("/api/v1/flamegraph?type=memory_anon&{window}&query=%7Bservice%3D%22api%22%7D"));
    assert_eq!((graph["unit"].clone(), graph["total"].clone()), (json!("bytes"), json!(545 << 20)));
    assert_eq!(server.json(&format!("/api/v1/types?{window}")), json!({"types": [{"type": "memory_anon", "unit": "bytes"}]}));
    let services = server.json(&format!("/api/v1/services?{window}"));
    assert_eq!(
        services["services"][0],
        json!({"service": "api", "versions": [], "hosts": 1, "value": 0, "unit": "nanoseconds", "samples": 0})
    );
}

/// A wrong question says what is wrong with it.
#[test]
fn wrong_questions() {
    let server = server();
    for (path, status, words) in [
        (
            "/api/v1/flamegraph?form=svg",
            400,
            "there is no parameter \"form\" here; there are type, from, to, query, generics, min_share, format, path",
        ),
        ("/api/v1/flamegraph?format=png", 400, "it must be json, svg, folded or pprof"),
        ("/api/v1/flamegraph?format=folded&min_share=0.1", 400, "leave min_share out"),
        ("/api/v1/flamegraph?generics=yes", 400, "it must be keep or fold"),
        ("/api/v1/flamegraph?min_share=2", 400, "it must be a share from 0 to 1"),
        ("/api/v1/flamegraph?min_share=NaN", 400, "it must be a share from 0 to 1"),
        ("/api/v1/flamegraph?query=%7Bservice", 400, "at character 9 where one of = != =~ !~ was expected"),
        ("/api/v1/flamegraph?from=yesterday", 400, "\"yesterday\" is not a time"),
        ("/api/v1/flamegraph?from=now&to=-1h", 400, "from must be earlier than to"),
        ("/api/v1/flamegraph?from=-1h&from=-2h", 400, "given twice"),
        ("/api/v1/flamegraph?type=broken", 413, "narrow the window or the selector"),
        ("/api/v1/top?limit=-1", 400, "it must be a whole number of functions"),
        ("/api/v1/timeseries?step=0", 400, "greater than 0"),
        ("/api/v1/timeseries?from=-7d&step=1", 400, "use a longer step"),
        ("/api/v1/services?query=%7B%7D", 400, "there is no parameter \"query\" here; there are from, to"),
    ] {
        let message = error(&server.ask(path, ""), status);
        assert!(message.contains(words), "{path}: {message}");
    }
    assert_eq!(server.ask("/api/v1/flamegraph?query=%FF%00", "").status, 400);
}

/// 20,000 stacks of 30 frames that share their root sides; every function has a name as long as real ones are, and like no other.
fn large() -> Batch {
    let mut random = query_fixture::Random(3);
    let mut large = batch("web-1", 1_764_000_900);
    let mut values = std::collections::BTreeMap::new();
    for _ in 0..20_000 {
        let mut caller = 0;
        let mut locations: Vec<_> = (0..30_u64)
            .map(|level| {
                // Who calls says which hundreds of functions may follow.
                let way = query_fixture::Random(caller * 31 + random.below(2 + level * level / 64) + 1).below(300);
                let function = level * 1000 + way;
                caller = function;
                let hash = |salt: u64| query_fixture::Random(function * 7 + salt + 1).below(u64::MAX);
                let name = format!("service_{:x}::module_{:x}::Handler<{:x}>::call_{function}", hash(1) % 4096, hash(2) % 65_536, hash(3));
                large.tables.intern_named(FrameKind::Native, None, Svma(0), &name)
            })
            .collect();
        locations.reverse();
        let stack = large.tables.intern_stack(&locations, StackEnd::Root);
        *values.entry(stack).or_insert(0) += 1 + random.below(4) * random.below(50);
    }
    let labels = Labels::new().with("host", "web-1").with("service", "large");
    large.series = vec![Series { labels, sample_type: SampleType::cpu(PERIOD), values: values.into_iter().collect() }];
    large
}

/// A large flamegraph takes at most 100 kB on the way: what is narrower than a third of a pixel is left out, and how much that is is told.
#[test]
fn a_large_flamegraph_is_small_on_the_way() {
    let server = Server::start(QueryLimits::default());
    server.store.push(large());
    let answer = server.ask("/api/v1/flamegraph?from=-15m", "Accept-Encoding: gzip\r\n");
    let plain = flamekeeper_wire::gzip::decompress(&answer.body, 64 << 20).unwrap();
    let found: Value = serde_json::from_slice(&plain).unwrap();
    let sum = |column: &str| -> u64 { found["nodes"][column].as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).sum() };
    let nodes = found["nodes"]["depth"].as_array().unwrap().len();
    eprintln!("{nodes} nodes: {} bytes, {} compressed", plain.len(), answer.body.len());
    assert!(nodes > 3000 && answer.body.len() <= 100_000, "{nodes} nodes, {} bytes", answer.body.len());
    assert_eq!(sum("self") + sum("cut"), found["total"].as_u64().unwrap());
}

/// Who accepts gzip gets it, and it is the same answer.
#[test]
fn compression() {
    let server = server();
    let plain = server.ask("/api/v1/timeseries?from=-40h&to=1764001000", "");
    assert_eq!(plain.header("content-encoding"), None);
    let zipped = server.ask("/api/v1/timeseries?from=-40h&to=1764001000", "Accept-Encoding: gzip, br\r\n");
    assert_eq!((zipped.header("content-encoding"), zipped.header("vary")), (Some("gzip"), Some("accept-encoding")));
    assert!(zipped.body.len() < plain.body.len() / 4);
    assert_eq!(flamekeeper_wire::gzip::decompress(&zipped.body, 1 << 20).unwrap(), plain.body);
}

/// A closed window is not sent twice, until its content changes.
#[test]
fn closed_windows_are_cached() {
    let server = server();
    let path = format!("/api/v1/flamegraph?{CLOSED}");
    let first = server.ask(&path, "");
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.header("cache-control"), Some("private, max-age=30"));
    let known = format!("If-None-Match: {}\r\n", tag.replace("w/", "W/"));
    let again = server.ask(&path, &known);
    assert_eq!((again.status, again.body.len()), (304, 0));
    server.store.push(batch("late", 1_764_000_700));
    assert_eq!(server.ask(&path, &known).status, 200);
    let open = server.ask("/api/v1/flamegraph", "");
    assert_eq!((open.header("etag"), open.header("cache-control")), (None, Some("no-store")));
}

/// More questions than can be worked on wait, and are sent away when that takes too long; then it goes on.
#[test]
fn questions_are_limited() {
    let server = Server::start(QueryLimits { concurrent: 1, patience: Duration::from_millis(100), ..QueryLimits::default() });
    server.store.push(batch("a", NOW.0 / Timestamp::SECOND - 60));
    std::thread::scope(|scope| {
        let held = server.store.hold.lock().unwrap();
        let first = scope.spawn(|| server.ask("/api/v1/flamegraph", ""));
        // The first may be on its way still: ask until the one place is taken.
        let busy = std::iter::repeat_with(|| server.ask("/api/v1/types", "")).find(|answer| answer.status != 200).unwrap();
        assert!(error(&busy, 503).contains("busy"), "{busy:?}");
        assert_eq!(busy.header("retry-after"), Some("1"));
        drop(held);
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert_eq!(server.json("/api/v1/types")["types"][0]["type"], Value::from("cpu"));
}

/// A client that leaves stops the work on its question, which frees the place for the next one. Meanwhile the question is listed, with
/// the rows read for it.
#[test]
fn a_client_that_leaves_frees_its_place() {
    let server = Server::start(QueryLimits { concurrent: 1, patience: Duration::from_secs(60), ..QueryLimits::default() });
    server.store.push(batch("a", NOW.0 / Timestamp::SECOND - 60));
    let mut client = std::net::TcpStream::connect(server.address).unwrap();
    write!(client, "GET /api/v1/flamegraph?type=endless HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let running = || server.json("/api/v1/queries")["running"].as_array().unwrap().clone();
    let seen = std::iter::repeat_with(running).find(|running| running.first().is_some_and(|first| first["rows"].as_u64() > Some(100)));
    let first = &seen.unwrap()[0];
    assert_eq!(first["question"], Value::from("/api/v1/flamegraph?type=endless"));
    assert_eq!(first["waiting"], Value::from(false));
    drop(client);
    // Its turn comes only when the place is free.
    assert_eq!(server.json("/api/v1/types")["types"][0]["type"], Value::from("cpu"));
    assert_eq!(running(), Vec::<Value>::new());
}

/// A question that takes longer than one may is ended, and told what to ask instead; one that finds all places to wait taken is
/// sent away at once.
#[test]
fn questions_have_a_time() {
    let time = Duration::from_millis(300);
    let server = Server::start(QueryLimits { concurrent: 1, waiting: 0, time, ..QueryLimits::default() });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.ask("/api/v1/flamegraph?type=endless", ""));
        let answer = first.join().unwrap();
        assert!(error(&answer, 504).contains("shorter window"), "{answer:?}");
    });
    let server = Server::start(QueryLimits { concurrent: 1, waiting: 0, ..QueryLimits::default() });
    let mut client = std::net::TcpStream::connect(server.address).unwrap();
    write!(client, "GET /api/v1/flamegraph?type=endless HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let running = || server.json("/api/v1/queries")["running"].as_array().unwrap().len();
    assert!(std::iter::repeat_with(running).any(|running| running == 1));
    let busy = server.ask("/api/v1/types", "");
    assert!(error(&busy, 503).contains("busy"), "{busy:?}");
}

/// Samples stand in the second and tenth that they were taken in, over hosts and minutes; what is no tenth is left out.
#[test]
fn heat_map() {
    let server = Server::start(QueryLimits::default());
    let minute = 1_764_000_960;
    let counts = |start: u64, host: &str, counts: &[(&str, u64)]| {
        let mut tables = Tables::new();
        let stack = |name: &str, tables: &mut Tables| {
            let location = tables.intern_named(FrameKind::Other, None, Svma(0), name);
            tables.intern_stack(&[location], StackEnd::Root)
        };
        let values = counts.iter().map(|(name, count)| (stack(name, &mut tables), *count)).collect();
        let labels = Labels::new().with("host", host);
        let series =
            Series { labels: labels.clone().with("service", "api"), sample_type: flamekeeper_profile::subsecond::sample_type(), values };
        let window = Window::new(Timestamp(start * Timestamp::SECOND), Timestamp((start + 10) * Timestamp::SECOND));
        server.store.push(Batch { window, labels, tables, series: vec![series], ledger: Ledger::new(), figures: AgentFigures::default() });
    };
    counts(minute - 10, "web-1", &[("58.9", 7), ("59.9", 3)]);
    counts(minute, "web-1", &[("0.0", 1), ("1.5", 2), ("main", 9)]);
    counts(minute, "web-2", &[("1.5", 4)]);
    let map = |query: &str| server.json(&format!("/api/v1/heatmap?from={}&to={}{query}", minute - 1, minute + 3));
    let found = map("");
    assert_eq!((found["from"].as_f64(), found["seconds"].as_u64(), found["rows"].as_u64()), (Some((minute - 1) as f64), Some(4), Some(10)));
    let cells = |map: &Value| -> Vec<(usize, u64)> {
        let values = map["values"].as_array().unwrap().iter().map(|value| value.as_u64().unwrap());
        values.enumerate().filter(|(_, count)| *count > 0).collect()
    };
    assert_eq!((cells(&found), found["samples"].as_u64()), (vec![(9, 3), (10, 1), (25, 6)], Some(10)));
    assert_eq!(cells(&map("&query=%7Bhost%3D%22web-2%22%7D")), [(25, 4)]);
    assert!(server.ask("/api/v1/heatmap?from=-2h", "").text().contains("choose a shorter one"));
}

/// `generics=fold` makes one function of two in every answer that has functions.
#[test]
fn generics() {
    let server = Server::start(QueryLimits::default());
    let mut tables = Tables::new();
    let [ints, chars] = ["Vec<i32>::push", "Vec<u8>::push"].map(|name| tables.intern_named(FrameKind::Native, None, Svma(0), name));
    let [ints, chars] = [ints, chars].map(|location| tables.intern_stack(&[location], StackEnd::Root));
    let labels = Labels::new().with("host", "web-1").with("service", "api");
    let series = Series { labels: labels.clone(), sample_type: SampleType::cpu(PERIOD), values: vec![(ints, 3), (chars, 4)] };
    let window = Window::new(Timestamp(1_764_000_980 * Timestamp::SECOND), Timestamp(1_764_000_990 * Timestamp::SECOND));
    let mut ledger = Ledger::new();
    ledger.take(7);
    server.store.push(Batch { window, labels, tables, series: vec![series], ledger, figures: AgentFigures::default() });
    let names = |path: &str| -> Vec<String> {
        let listed = |value: &Value| value.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap_or("").to_owned()).collect();
        listed(&server.json(path)["functions"])
    };
    assert_eq!(server.json("/api/v1/flamegraph?generics=fold")["strings"], json!(["", "Vec<_>::push"]));
    assert_eq!(server.ask("/api/v1/flamegraph?generics=fold&format=folded", "").text(), format!("Vec<_>::push {}\n", 7 * PERIOD));
    assert_eq!(server.json("/api/v1/flamegraph?generics=keep")["strings"].as_array().unwrap().len(), 3);
    assert_eq!(names("/api/v1/top?generics=fold"), ["Vec<_>::push"]);
    assert_eq!(names("/api/v1/top"), ["Vec<u8>::push", "Vec<i32>::push"]);
    assert_eq!(names("/api/v1/diff?generics=fold"), ["Vec<_>::push"]);
    assert_eq!(names("/api/v1/diff").len(), 2);
}
