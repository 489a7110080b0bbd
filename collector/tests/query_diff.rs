//! Diffs and deploys over the API.

#![allow(clippy::unwrap_used)] // What is called by tests may fail as they do; the lint exempts the tests themselves only.

mod query_fixture;
mod query_server;

use flamekeeper_collector::http::QueryLimits;
use flamekeeper_profile::{
    AgentFigures, Batch, FrameKind, Labels, Ledger, LossReason, SampleType, Series, StackEnd, Svma, Tables, Timestamp, Window,
};
use query_fixture::PERIOD;
use query_server::Server;
use serde_json::{Value, json};

/// 2025-11-24T16:16:40Z, as the server knows it, less 20 minutes: windows of 10 s follow from here.
const START: u64 = 1_764_001_000 - 1200;

/// 10 s of `api` in a version on a host: samples of `main > steady`, `main > grows`, and of a function that only this version has.
fn batch(host: &str, start: u64, version: &str, counts: [u64; 3]) -> Batch {
    batch_of(host, start, version, counts, None)
}

/// The same, of a program in a file.
fn batch_of(host: &str, start: u64, version: &str, counts: [u64; 3], path: Option<&str>) -> Batch {
    let mut tables = Tables::new();
    let only = format!("only_{version}");
    let object = path.map(|path| tables.intern_object(None, path));
    let [main, steady, grows, only] =
        ["main", "steady", "grows", &only].map(|name| tables.intern_named(FrameKind::Native, object, Svma(0), name));
    let stacks = [steady, grows, only].map(|leaf| tables.intern_stack(&[leaf, main], StackEnd::Root));
    let labels = Labels::new().with("host", host).with("service", "api").with("version", version);
    let mut ledger = Ledger::new();
    ledger.take(counts.iter().sum::<u64>() + 1);
    ledger.lose(LossReason::RingFull, 1);
    Batch {
        window: Window::new(Timestamp(start * Timestamp::SECOND), Timestamp((start + 10) * Timestamp::SECOND)),
        labels: Labels::new().with("host", host),
        tables,
        series: vec![Series { labels, sample_type: SampleType::cpu(PERIOD), values: stacks.into_iter().zip(counts).collect() }],
        ledger,
        figures: AgentFigures::default(),
    }
}

/// Ten minutes of version 1 on three hosts, then ten of version 2, in which `grows` takes three times as much.
fn server() -> Server {
    let server = Server::start(QueryLimits::default());
    for window in 0..120 {
        for (number, host) in ["web-1", "web-2", "web-3"].into_iter().enumerate() {
            let wobble = (window * 7 + number as u64 * 3) % 5;
            let (version, counts) =
                if window < 60 { ("1", [40 + wobble, 8 + wobble % 3, 2]) } else { ("2", [41 + wobble % 4, 25 + wobble, 2]) };
            server.store.push(batch(host, START + window * 10, version, counts));
        }
    }
    server
}

fn windows() -> String {
    format!("from_a={START}&to_a={}&from_b={}&to_b={}", START + 600, START + 600, START + 1200)
}

fn function<'a>(diff: &'a Value, name: &str) -> &'a Value {
    diff["functions"].as_array().unwrap().iter().find(|function| function["name"] == name).unwrap()
}

/// What grew is told with its interval, what did not is chance; the sides say what they hold, the tree adds up.
#[test]
fn two_windows() {
    let server = server();
    let diff = server.json(&format!("/api/v1/diff?query_a=%7Bservice%3D%22api%22%7D&query_b=%7Bservice%3D%22api%22%7D&{}", windows()));
    assert_eq!((diff["unit"].as_str(), diff["a"]["hosts"].as_u64(), diff["a"]["windows"].as_u64()), (Some("cores"), Some(3), Some(12)));
    assert_eq!(diff["a"]["host_seconds"].as_f64(), Some(1800.0));
    assert_eq!(diff["a"]["query"], "{service=\"api\"}");
    let grows = function(&diff, "grows");
    assert_eq!(grows["verdict"], "grew", "{grows}");
    // 18 samples of 10 ms in 10 s of a host.
    let change = grows["change"].as_f64().unwrap();
    assert!((change - 0.018).abs() < 0.002 && grows["low"].as_f64().unwrap() > 0.01 && grows["high"].as_f64().unwrap() < 0.03, "{grows}");
    assert_eq!(function(&diff, "steady")["verdict"], "chance");
    // Each version's own function is the other's under another name: the same caller, the same callees.
    let only = function(&diff, "only_2");
    assert_eq!((only["verdict"].as_str(), only["moved_from"].as_str()), (Some("moved"), Some("only_1")), "{only}");
    let sum = |column: &str| -> u64 { diff["tree"][column].as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).sum() };
    assert_eq!(sum("a") + sum("cut_a"), diff["a"]["weight"].as_u64().unwrap());
    assert_eq!(sum("b") + sum("cut_b"), diff["b"]["samples"].as_u64().unwrap() * PERIOD);
    assert_eq!(diff["names"][0], "");
    assert_eq!(diff["completeness"]["a"]["lost_total"].as_u64(), Some(180));
    assert!(diff["statistics"]["smallest_change_seen"].as_str().unwrap().contains("80 %"));
}

/// A version in another folder is the same program: what did not change is told as moved, and what grew as grown.
#[test]
fn another_folder_hides_nothing() {
    let server = Server::start(QueryLimits::default());
    for window in 0..120 {
        let (version, grows) = if window < 60 { ("1", 8) } else { ("2", 25) };
        let path = format!("/opt/api-{version}/api");
        let counts = [40 + window % 5, grows + window % 3, 2];
        server.store.push(batch_of("web-1", START + window * 10, version, counts, Some(&path)));
    }
    let diff = server.json(&format!("/api/v1/diff?{}", windows()));
    let grows = function(&diff, "grows");
    assert_eq!((grows["verdict"].as_str(), grows["moved_from"].as_str()), (Some("grew"), Some("grows")), "{grows}");
    assert!(grows["relative_low"].as_f64().unwrap() > 1.0, "{grows}");
    let steady = function(&diff, "steady");
    assert_eq!((steady["verdict"].as_str(), steady["module"].as_str()), (Some("moved"), Some("/opt/api-2/api")), "{steady}");
    assert_eq!(diff["functions"].as_array().unwrap().iter().filter(|function| function["name"] == "steady").count(), 1);
    let report = server.json(&format!("/api/v1/diff?format=report&{}", windows()));
    assert!(report["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains("in another module")), "{report}");
}

/// A report holds what changed and no tree, as JSON and for people.
#[test]
fn reports() {
    let server = server();
    let question = |format: &str| format!("/api/v1/diff?format={format}&limit=9&{}", windows());
    let report = server.json(&question("report"));
    assert_eq!((report["regressions"][0]["name"].as_str(), report["unit"].as_str()), (Some("grows"), Some("cores")), "{report}");
    assert_eq!((report["improvements"].as_array().unwrap().len(), report["moved"][0]["moved_from"].as_str()), (0, Some("only_1")));
    assert!(report["tree"].is_null() && report["a"]["samples"].as_u64().unwrap() > 1000);
    let relative = report["regressions"][0]["relative_low"].as_f64().unwrap();
    assert!(relative > 1.0 && relative < report["regressions"][0]["relative"].as_f64().unwrap(), "{report}");
    let text = server.ask(&question("text"), "").text();
    assert!(text.contains("2 regressions, in cores") && text.contains("  grows\n"), "{text}");
    let markdown = server.ask(&question("markdown"), "").text();
    assert!(markdown.contains("| grows | "), "{markdown}");
    assert!(server.ask(&question("pdf"), "").text().contains("json, report, text or markdown"));
}

/// Under a path stands exactly what the whole answer cut there, and the sides stay those of the whole.
#[test]
fn a_narrow_place_is_told_exactly() {
    let server = server();
    let whole = server.json(&format!("/api/v1/diff?max_nodes=2&{}", windows()));
    let place = server.json(&format!("/api/v1/diff?path=main&{}", windows()));
    assert_eq!(whole["names"], json!(["", "main"]));
    let sum = |diff: &Value, column: &str| -> u64 { diff["tree"][column].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).sum() };
    for (own, cut) in [("a", "cut_a"), ("b", "cut_b")] {
        assert!(sum(&whole, cut) > 0 && sum(&place, cut) == 0);
        assert_eq!(sum(&place, own), sum(&whole, own) + sum(&whole, cut));
    }
    for part in ["host_seconds", "hosts", "samples", "weight", "total"] {
        assert_eq!(place["a"][part], whole["a"][part], "{part}");
    }
    assert_eq!(place["functions"], json!([]));
    let deeper = server.json(&format!("/api/v1/diff?path=main%1Fgrows&{}", windows()));
    assert_eq!(deeper["names"], json!(["", "main", "grows"]));
    assert!(server.ask("/api/v1/diff?path=main&format=text", "").text().contains("leave one of them out"));
}

/// By requests a value is what one request takes: twice the load with the same cost is no change, half the requests double it.
#[test]
fn divided_by_requests() {
    let server = server();
    let diff = |a: u64, b: u64| server.json(&format!("/api/v1/diff?by=requests&requests_a={a}&requests_b={b}&{}", windows()));
    let found = diff(1000, 3000);
    let grows = function(&found, "grows");
    // Three times the samples of three times the requests.
    assert_eq!((grows["verdict"].as_str(), found["unit"].as_str()), (Some("chance"), Some("request")), "{grows}");
    let samples = found["a"]["samples"].as_f64().unwrap();
    assert!((found["a"]["total"].as_f64().unwrap() - samples * PERIOD as f64 / 1000.0).abs() < 1.0);
    let steady = function(&found, "steady");
    assert_eq!(steady["verdict"], "shrank", "{steady}");
    let halved = diff(2000, 1000);
    assert_eq!(function(&halved, "steady")["verdict"], "grew");
    let note = |diff: &Value| diff["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains("taken as exact"));
    assert!(note(&halved), "{}", halved["notes"]);
    let text = server.ask(&format!("/api/v1/diff?format=text&requests_a=2000&requests_b=1000&by=requests&{}", windows()), "").text();
    assert!(text.contains("in ms of CPU a request"), "{text}");
    for (wrong, said) in
        [("by=requests&requests_a=5", "or neither"), ("requests_a=5", "go with by=requests"), ("requests_a=0", "greater than 0")]
    {
        assert!(server.ask(&format!("/api/v1/diff?{wrong}"), "").text().contains(said), "{wrong}");
    }
}

/// Without counts in the question those that were posted are taken: where they came from and how much of each side's time they are of is told, and
/// what to do where there are none.
#[test]
fn divided_by_posted_requests() {
    let server = server();
    let question = |format: &str| {
        format!("/api/v1/diff?by=requests&format={format}&query_a=%7Bversion%3D%221%22%7D&query_b=%7Bversion%3D%222%22%7D&{}", windows())
    };
    let refused = server.ask(&question("json"), "");
    assert_eq!(refused.status, 404);
    assert!(refused.text().contains("no requests were posted for A") && refused.text().contains("requests post"), "{}", refused.text());
    let post = |version: &str, from: u64, to: u64, count: u64| {
        let posted = server
            .post("/api/v1/requests", &json!({ "service": "api", "version": version, "from": from, "to": to, "count": count }).to_string());
        assert_eq!((posted.status, posted.json()["result"].as_str()), (201, Some("accepted")), "{}", posted.text());
    };
    post("1", START, START + 600, 1000);
    // Nine tenths of B's time: at that rate 3000 in all of it.
    post("2", START + 600, START + 1140, 2700);
    let found = server.json(&question("json"));
    let given = server.json(&format!(
        "/api/v1/diff?by=requests&requests_a=1000&requests_b=3000&query_a=%7Bversion%3D%221%22%7D&query_b=%7Bversion%3D%222%22%7D&{}",
        windows()
    ));
    assert_eq!((&found["functions"], found["a"]["total"].as_f64()), (&given["functions"], given["a"]["total"].as_f64()));
    let requests = &found["b"]["requests"];
    assert_eq!(
        (requests["count"].as_u64(), requests["posted"].as_u64(), requests["hosts"].as_u64()),
        (Some(3000), Some(2700), Some(0)),
        "{found}"
    );
    assert!((requests["covered"].as_f64().unwrap() - 0.9).abs() < 1e-9 && given["b"]["requests"].is_null());
    let text = server.ask(&question("text"), "").text();
    for said in [
        "A: 1000 requests were posted for 100 % of its time.",
        "B: 2700 requests were posted for 90 % of its time: at that rate 3000 in all of it.",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    // Counts say nothing of what runs where.
    assert_eq!(server.json("/api/v1/services?from=-30m")["services"].as_array().unwrap().len(), 1);
    assert_eq!(server.json("/api/v1/hosts?from=-30m")["hosts"].as_array().unwrap().len(), 3);
    assert_eq!(server.json("/api/v1/types?from=-30m")["types"].as_array().unwrap().len(), 1);
    assert_eq!(server.json("/api/v1/deploys?service=api&from=-30m")["deploys"].as_array().unwrap().len(), 1);
    let listed = server.json("/api/v1/requests?service=api&from=-30m");
    assert_eq!(listed["requests"][0], json!({ "service": "api", "version": "2", "host": "", "count": 2700, "counted_seconds": 540.0 }));
    assert_eq!(server.json("/api/v1/requests?service=db&from=-30m")["requests"], json!([]));
}

/// Counts that say too little, too much, or nothing of a side are refused with what to do; those of one time by two are added up.
#[test]
fn posted_requests_that_do_not_fit() {
    let server = server();
    let post = |body: Value| assert_eq!(server.post("/api/v1/requests", &body.to_string()).status, 201, "{body}");
    let at = |seconds: u64| START + seconds;
    let ask = |query: &str, (a, b): (u64, u64), (c, d): (u64, u64)| {
        let windows = format!("from_a={}&to_a={}&from_b={}&to_b={}", at(a), at(b), at(c), at(d));
        server.ask(&format!("/api/v1/diff?by=requests&query_a={query}&query_b={query}&{windows}"), "")
    };
    let api = "%7Bservice%3D%22api%22%7D";
    post(json!({ "service": "api", "host": "web-1", "from": at(0), "to": at(300), "count": 300 }));
    post(json!({ "service": "api", "from": at(300), "to": at(420), "count": 240 }));
    post(json!({ "service": "api", "from": at(300), "to": at(420), "count": 120 }));
    post(json!({ "service": "api", "from": at(600), "to": at(1200), "count": 0 }));
    // One of three hosts is a third of their time, and all of its own.
    let third = ask(api, (0, 300), (300, 420));
    assert!(third.status == 404 && third.text().contains("for 33 % of the time of A only"), "{}", third.text());
    let own = ask("%7Bhost%3D%22web-1%22%7D", (0, 300), (0, 100)).json();
    assert_eq!((own["a"]["requests"]["count"].as_u64(), own["b"]["requests"]["count"].as_u64()), (Some(300), Some(100)), "{own}");
    let both = ask(api, (300, 420), (300, 420)).json();
    assert_eq!((both["a"]["requests"]["count"].as_u64(), both["a"]["requests"]["covered"].as_f64()), (Some(360), Some(2.0)), "{both}");
    assert!(both["notes"].to_string().contains("taken as parts of it"), "{}", both["notes"]);
    // A count of all versions is none of one that ran for a part of its time.
    let version = ask("%7Bversion%3D%222%22%7D", (300, 1200), (600, 1200));
    assert!(version.status == 404 && version.text().contains("name no version"), "{}", version.text());
    let none = ask(api, (600, 1200), (600, 1200));
    assert!(none.status == 404 && none.text().contains("no request was served in A"), "{}", none.text());
    for (wrong, said) in [
        (r#"{"service": "api", "count": 5}"#, "from"),
        (r#"{"service": "api", "from": "-1m", "count": -5}"#, "count"),
        (r#"{"service": "api", "from": "-1m", "count": 5, "path": "/"}"#, "unknown field"),
        (r#"{"service": "", "from": "-1m", "count": 5}"#, "service is missing"),
        (r#"{"service": "api", "from": "-2h", "count": 5}"#, "1 s to 1 h"),
        (r#"{"service": "api", "from": "soon", "count": 5}"#, "soon"),
        ("[]", "cannot be read"),
    ] {
        let answer = server.post("/api/v1/requests", wrong);
        assert!(answer.status == 400 && answer.text().contains(said), "{wrong}: {}", answer.text());
    }
}

/// The same window twice has no change, whatever values are divided by.
#[test]
fn nothing_changed() {
    let server = server();
    let window = format!("from_a={START}&to_a={0}&from_b={START}&to_b={0}", START + 600);
    for by in ["cores", "share", "samples"] {
        let diff = server.json(&format!("/api/v1/diff?{window}&by={by}&max_nodes=2"));
        assert_eq!((diff["statistics"]["flagged"].as_u64(), diff["unit"].as_str()), (Some(0), Some(by)));
        assert!(diff["tree"]["depth"].as_array().unwrap().len() <= 2);
        assert!(diff["functions"].as_array().unwrap().iter().all(|function| function["change"] == 0.0 && function["verdict"] == "chance"));
    }
    let share = server.json(&format!("/api/v1/diff?{window}&by=share"));
    assert!((share["a"]["total"].as_f64().unwrap() - 1.0).abs() < 1e-9);
}

/// Empty sides are answered and said so, one host is said so, and mistakes name the parameter.
#[test]
fn edges_and_mistakes() {
    let server = server();
    let empty = server.json(&format!("/api/v1/diff?query_b=%7Bservice%3D%22none%22%7D&{}", windows()));
    assert!(empty["notes"][0].as_str().unwrap().contains("B has no samples"), "{}", empty["notes"]);
    assert_eq!(empty["statistics"]["flagged"], 0);
    let host = "query_a=%7Bhost%3D%22web-1%22%7D&query_b=%7Bhost%3D%22web-1%22%7D";
    let one = server.json(&format!("/api/v1/diff?{host}&{}", windows()));
    assert!(one["notes"][0].as_str().unwrap().contains("One host"), "{}", one["notes"]);
    assert_eq!(one["a"]["windows"], 8);
    for (mistake, told) in
        [("by=votes", "cores, share, samples or requests"), ("query=x", "query"), ("from_a=soon", "soon"), ("max_nodes=0", "max_nodes")]
    {
        let answer = server.ask(&format!("/api/v1/diff?{mistake}"), "");
        assert_eq!(answer.status, 400, "{mistake}");
        assert!(answer.text().contains(told), "{mistake}: {}", answer.text());
    }
}

/// A change of version is a deploy, with where it ran; windows to compare it are chosen after its warm-up.
#[test]
fn deploys_are_found() {
    let server = server();
    let found = server.json("/api/v1/deploys?service=api&from=-30m");
    let deploy = &found["deploys"][0];
    assert_eq!(found["deploys"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!((&deploy["version"], &deploy["previous"], &deploy["kind"]), (&json!("2"), &json!("1"), &json!("deploy")));
    assert_eq!(deploy["hosts"].as_array().unwrap().len(), 3);
    let at = deploy["at"].as_f64().unwrap();
    assert!((at - (START + 600) as f64).abs() <= 60.0, "{at}");
    let compare = server.json("/api/v1/deploys/compare?service=api&from=-30m");
    let span = |side: &str| compare[side]["to"].as_f64().unwrap() - compare[side]["from"].as_f64().unwrap();
    assert!((span("a") - span("b")).abs() < 1e-6 && span("a") > 300.0, "{compare}");
    assert!(compare["b"]["from"].as_f64().unwrap() >= at + 119.0 && compare["a"]["to"].as_f64().unwrap() <= at + 60.0, "{compare}");
    assert_eq!(compare["b"]["query"], "{service=\"api\", version=\"2\"}");
    assert!(compare["why"].as_str().unwrap().contains("warm-up"), "{compare}");
    assert_eq!(server.ask("/api/v1/deploys/compare?service=db", "").status, 404);
    assert_eq!(server.ask("/api/v1/deploys/compare", "").status, 400);
}

/// A mark that is posted stands among the deploys; one that breaks a rule is refused in words.
#[test]
fn marks_are_kept() {
    let server = server();
    let posted = server.post("/api/v1/deploys", r#"{"service": "api", "version": "2", "at": "-5m", "text": "flag on"}"#);
    assert_eq!(posted.status, 201, "{}", posted.text());
    let found = server.json("/api/v1/deploys?service=api&from=-30m");
    let mark = found["deploys"].as_array().unwrap().iter().find(|deploy| deploy["kind"] == "mark").unwrap();
    assert_eq!((mark["text"].as_str(), mark["at"].as_f64()), (Some("flag on"), Some(1_764_000_700.0)));
    let long = format!(r#"{{"service": "api", "text": "{}"}}"#, "x".repeat(2000));
    for body in [r#"{"service": ""}"#, r#"{"version": "1"}"#, "not json", r#"{"service": "api", "colour": 1}"#, &long] {
        let answer = server.post("/api/v1/deploys", body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
}
