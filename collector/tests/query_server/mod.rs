//! The query routes behind axum's real listener, over a list of batches.
//!
//! [`Batches`] answers as `store::Store` says and nothing else: it is the plain truth that the HTTP side is tested against, and
//! it can be made to block.

#![allow(dead_code)] // Each test program uses a part of it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flamekeeper_collector::deploys::Marks;
use flamekeeper_collector::http::{Queries, QueryLimits, QueryState, query_routes};
use flamekeeper_collector::store::{
    Appended, HostSummary, MergedProfile, Selection, SeriesSummary, Store, StoreError, StoreStatus, TimeSeries,
};
use flamekeeper_collector::watch::Ticker;
use flamekeeper_profile::{Batch, Ledger, Series, StackEnd, Timestamp, Window, label};
use flamekeeper_wire::BatchId;

use crate::query_fixture::Names;

/// Now, as the server knows it.
pub(crate) const NOW: Timestamp = Timestamp(1_764_001_000 * Timestamp::SECOND);

/// A list of batches.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    list: Mutex<Vec<Batch>>,
    /// Held by a test to make every merge wait.
    pub(crate) hold: Mutex<()>,
}

impl Batches {
    pub(crate) fn push(&self, batch: Batch) {
        self.list.lock().unwrap().push(batch);
    }

    fn within(&self, window: Window) -> Vec<Batch> {
        self.list.lock().unwrap().iter().filter(|batch| window.contains(batch.window.from)).cloned().collect()
    }
}

fn selected<'a>(batch: &'a Batch, selection: &'a Selection) -> impl Iterator<Item = &'a Series> {
    let wanted = |series: &&Series| series.sample_type.query_name() == selection.profile_type && selection.selector.matches(&series.labels);
    batch.series.iter().filter(wanted)
}

impl Store for Batches {
    fn append(&self, _id: &BatchId, batch: Batch) -> Result<Appended, StoreError> {
        self.push(batch);
        Ok(Appended::Accepted)
    }

    fn merged(&self, selection: &Selection) -> Result<MergedProfile, StoreError> {
        drop(self.hold.lock().unwrap());
        if selection.profile_type == "endless" {
            let rows = Ticker::current();
            loop {
                rows.tick().map_err(StoreError::Stopped)?;
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        if selection.profile_type == "broken" {
            return Err(StoreError::TooLarge { limit: 5 });
        }
        let mut found = MergedProfile::default();
        for batch in self.within(selection.window) {
            found.completeness.ledger.add(&batch.ledger);
            let remap = found.merged.tables.absorb(&batch.tables);
            for series in selected(&batch, selection) {
                series.sample_type.query_unit().clone_into(&mut found.unit);
                found.merged.add_series(&remap, &series.sample_type, &series.values);
            }
        }
        Ok(found)
    }

    fn time_series(&self, selection: &Selection, by: &str, step: u64) -> Result<TimeSeries, StoreError> {
        let points = usize::try_from(selection.window.duration().div_ceil(step)).unwrap();
        let mut found = TimeSeries { by_value: BTreeMap::new(), ..TimeSeries::default() };
        for batch in self.within(selection.window) {
            let point = usize::try_from((batch.window.from.0 - selection.window.from.0) / step).unwrap();
            for series in selected(&batch, selection) {
                series.sample_type.query_unit().clone_into(&mut found.unit);
                found.completeness.samples += series.total();
                let values = found.by_value.entry(series.labels.get(by).to_owned()).or_insert_with(|| vec![0; points]);
                values[point] += series.sample_type.weigh(series.total());
            }
        }
        Ok(found)
    }

    fn series(&self, window: Window) -> Result<Vec<SeriesSummary>, StoreError> {
        let mut found = Vec::new();
        for batch in self.within(window) {
            for series in &batch.series {
                let early = |id| matches!(batch.tables.stack(id).map(|stack| stack.end), Some(StackEnd::Truncated(_)));
                found.push(SeriesSummary {
                    labels: series.labels.clone(),
                    sample_type: series.sample_type.clone(),
                    weight: series.sample_type.weigh(series.total()),
                    samples: series.total(),
                    truncated: series.values.iter().filter(|(stack, _)| early(*stack)).map(|(_, value)| *value).sum(),
                });
            }
        }
        Ok(found)
    }

    fn hosts(&self, window: Window) -> Result<Vec<HostSummary>, StoreError> {
        let mut found: BTreeMap<String, HostSummary> = BTreeMap::new();
        for batch in self.within(window) {
            let (labels, last_seen, figures) = (batch.labels.clone(), batch.window.to, batch.figures);
            let new = || HostSummary { labels, last_seen, ledger: Ledger::new(), figures };
            let host = found.entry(batch.labels.get(label::HOST).to_owned()).or_insert_with(new);
            host.last_seen = host.last_seen.max(batch.window.to);
            host.ledger.add(&batch.ledger);
        }
        Ok(found.into_values().collect())
    }

    fn status(&self) -> Result<StoreStatus, StoreError> {
        Ok(StoreStatus::default())
    }
}

/// A server that lives as long as this value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<Batches>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    pub(crate) fn start(limits: QueryLimits) -> Self {
        let store = Arc::new(Batches::default());
        let shared: Arc<Batches> = Arc::clone(&store);
        let state =
            QueryState { store: shared, symbols: Arc::new(Names), now: Arc::new(|| NOW), limits, marks: Arc::new(Marks::in_memory()) };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, query_routes(state, &Arc::<Queries>::default())).await });
        Self { address, store, _runtime: runtime }
    }

    /// Asks with further header lines, each ended by CR LF.
    pub(crate) fn ask(&self, path: &str, headers: &str) -> Answer {
        self.send("GET", path, headers, "")
    }

    /// Posts JSON.
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        self.send("POST", path, &headers, body)
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n{body}").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.ask(path, "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }
}

/// An answer, with its head in lower case.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}
