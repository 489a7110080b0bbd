//! A webhook is told of a new version: once, when there are samples enough, and again where it did not take it.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod query_fixture;
mod query_server;

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use flamekeeper_collector::webhook::{Announcer, WebhookConfig, WebhookLimits, WebhookSources};
use flamekeeper_profile::{AgentFigures, Batch, FrameKind, Labels, Ledger, SampleType, Series, StackEnd, Svma, Tables, Timestamp, Window};
use query_fixture::{Names, PERIOD};
use query_server::{Batches, NOW};
use serde_json::Value;

const START: u64 = NOW.0 / Timestamp::SECOND - 1200;

/// 10 s of `api` on a host.
fn batch(host: &str, start: u64, version: &str, counts: [u64; 2]) -> Batch {
    let mut tables = Tables::new();
    let [main, steady, grows] = ["main", "steady", "grows"].map(|name| tables.intern_named(FrameKind::Native, None, Svma(0), name));
    let stacks = [steady, grows].map(|leaf| tables.intern_stack(&[leaf, main], StackEnd::Root));
    let labels = Labels::new().with("host", host).with("service", "api").with("version", version);
    Batch {
        window: Window::new(Timestamp(start * Timestamp::SECOND), Timestamp((start + 10) * Timestamp::SECOND)),
        labels: Labels::new().with("host", host),
        tables,
        series: vec![Series { labels, sample_type: SampleType::cpu(PERIOD), values: stacks.into_iter().zip(counts).collect() }],
        ledger: Ledger::new(),
        figures: AgentFigures::default(),
    }
}

/// `first` three hours ago and for ten minutes, then `second` for ten, in which `grows` takes twice as much.
fn store(first: &str, second: &str) -> Arc<Batches> {
    let store = Arc::new(Batches::default());
    store.push(batch("web-1", START - 3 * 3600, first, [40, 10]));
    for window in 0..120 {
        for host in ["web-1", "web-2"] {
            let (version, grows) = if window < 60 { (first, 10) } else { (second, 20) };
            store.push(batch(host, START + window * 10, version, [40 + window % 3, grows]));
        }
    }
    store
}

/// A request's head in lower case, and its body.
type Request = (String, Value);

/// A server that answers with these statuses, one after the other; then it hangs up without a word.
fn webhook(statuses: &[u16]) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?key=1", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    let mut statuses: VecDeque<u16> = statuses.iter().copied().collect();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(status) = statuses.pop_front() else { continue };
            let (mut bytes, mut buffer) = (Vec::new(), [0; 16384]);
            let (head, body) = loop {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "the request broke off");
                bytes.extend_from_slice(&buffer[..read]);
                let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
                let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
                if bytes.len() == end + 4 + length {
                    break (head, bytes.split_off(end + 4));
                }
            };
            // The test may have ended.
            _ = sender.send((head, serde_json::from_slice(&body).unwrap()));
            _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nLocation: http://elsewhere.example/\r\n\r\n");
        }
    });
    (url, receiver)
}

fn announcer(url: &str, file: &Path, store: &Arc<Batches>, samples: u64) -> Arc<Announcer> {
    let shared: Arc<Batches> = Arc::clone(store);
    let sources = WebhookSources { store: shared, symbols: Arc::new(Names), now: Arc::new(|| NOW) };
    let config = WebhookConfig { url: Some(url.to_owned()), ca: None, samples };
    let limits = WebhookLimits { attempts: 3, pause: Duration::from_millis(1), ..WebhookLimits::default() };
    Announcer::new(&config, file, sources, limits).unwrap().unwrap()
}

/// Sent, refused, failed and retried.
fn counts(announcer: &Announcer) -> [u64; 4] {
    let counters = announcer.counters();
    [&counters.sent, &counters.refused, &counters.failed, &counters.retried].map(|counter| counter.load(Ordering::Relaxed))
}

/// The report of a new version is posted until it is taken, under one id, and never again, not after a restart either.
#[tokio::test]
async fn told_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("announced.jsonl");
    let (url, requests) = webhook(&[503, 200, 200]);
    let store = store("1", "2");
    let first = announcer(&url, &file, &store, 2000);
    first.look().await;
    assert_eq!(counts(&first), [1, 0, 0, 1]);
    let got: Vec<Request> = requests.try_iter().collect();
    let [(head, body), (_, again)] = &got[..] else { panic!("{got:?}") };
    assert!(head.starts_with("post /hook?key=1 http/1.1\r\n") && head.contains("content-type: application/json"), "{head}");
    assert!(head.contains(&format!("idempotency-key: {}", body["id"].as_str().unwrap())), "{head}");
    assert_eq!(body, again);
    assert_eq!([&body["event"], &body["service"], &body["version"], &body["previous"]], ["deploy", "api", "2", "1"]);
    assert!(body["text"].as_str().unwrap().starts_with("api 2 after 1: 2 regressions: grows "), "{}", body["text"]);
    assert_eq!(body["report"]["regressions"][0]["name"], "grows");
    assert!(body["report"]["why"].as_str().unwrap().contains("warm-up"), "{body}");
    first.look().await;
    let second = announcer(&url, &file, &store, 2000);
    second.look().await;
    assert_eq!((counts(&first), counts(&second), requests.try_iter().count()), ([1, 0, 0, 1], [0; 4], 0));
}

/// Too few samples wait; versions that were there before are no news.
#[tokio::test]
async fn waits_for_samples() {
    let folder = tempfile::tempdir().unwrap();
    let (url, requests) = webhook(&[200]);
    let waiting = announcer(&url, &folder.path().join("a"), &store("1", "2"), 10_000_000);
    waiting.look().await;
    assert_eq!((counts(&waiting), waiting.counters().waiting.load(Ordering::Relaxed)), ([0; 4], 1));
    let alone = announcer(&url, &folder.path().join("b"), &store("1", "1"), 1);
    alone.look().await;
    let back = store("1", "2");
    back.push(batch("web-1", START - 4 * 3600, "2", [40, 20]));
    let rolled_back = announcer(&url, &folder.path().join("c"), &back, 1);
    rolled_back.look().await;
    assert_eq!((counts(&alone), counts(&rolled_back), requests.try_iter().count()), ([0; 4], [0; 4], 0));
}

/// A webhook that says that the report is wrong, or refers elsewhere, is not asked again; one that fails is, so many times.
#[tokio::test]
async fn refused_and_failed() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (statuses, expected)) in
        [(&[404_u16][..], [0, 1, 0, 0]), (&[302], [0, 1, 0, 0]), (&[500, 429, 503], [0, 0, 1, 3]), (&[], [0, 0, 1, 3])]
            .into_iter()
            .enumerate()
    {
        let (url, requests) = webhook(statuses);
        let file = folder.path().join(number.to_string());
        let announcer = announcer(&url, &file, &store("1", "2"), 2000);
        announcer.look().await;
        assert_eq!((counts(&announcer), requests.try_iter().count()), (expected, statuses.len()), "{statuses:?}");
    }
    assert!(Announcer::new(&WebhookConfig::default(), folder.path(), sources(), WebhookLimits::default()).unwrap().is_none());
    let wrong = WebhookConfig { url: Some("ftp://a".into()), ..WebhookConfig::default() };
    assert!(
        Announcer::new(&wrong, folder.path(), sources(), WebhookLimits::default())
            .unwrap_err()
            .to_string()
            .contains("the address of a webhook")
    );
}

fn sources() -> WebhookSources {
    WebhookSources { store: Arc::<Batches>::default(), symbols: Arc::new(Names), now: Arc::new(|| NOW) }
}
