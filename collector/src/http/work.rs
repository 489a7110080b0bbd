//! Runs questions off the async threads, a few at a time, each for as long as somebody waits for it and no longer than it may take.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use tokio::sync::Semaphore;

use super::QueryState;
use super::answer::Answer;
use super::error::ApiError;
use super::params::Params;
use crate::memory::Pressure;
use crate::store::StoreError;
use crate::watch::{Stopped, Watch};

/// How much may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Questions that are worked on at once.
    pub concurrent: usize,
    /// Questions that may wait for their turn; a further one is sent away at once.
    pub waiting: usize,
    /// How long one waits for its turn before it is sent away. A page asks some six at once, which must not be
    /// too many for it.
    pub patience: Duration,
    /// How long a question may take, its waiting included.
    pub time: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self { concurrent: 4, waiting: 64, patience: Duration::from_secs(5), time: Duration::from_secs(30) }
    }
}

/// What became of questions since the start.
#[derive(Debug, Default)]
pub struct QueryCounters {
    /// Answered.
    pub answered: AtomicU64,
    /// Wrong, or failed.
    pub failed: AtomicU64,
    /// Sent away because too many were under way.
    pub busy: AtomicU64,
    /// Stopped because their time was over.
    pub overdue: AtomicU64,
    /// Stopped because nobody waited any more.
    pub left: AtomicU64,
    /// Rows that were read for them.
    pub rows: AtomicU64,
    /// Time that was worked on them, in microseconds.
    pub microseconds: AtomicU64,
}

impl QueryCounters {
    fn count(&self, result: &Result<Answer, ApiError>) {
        let counter = match result {
            Ok(_) => &self.answered,
            Err(ApiError::Busy) => &self.busy,
            Err(ApiError::Stopped(Stopped::Time { .. }) | ApiError::Store(StoreError::Stopped(Stopped::Time { .. }))) => &self.overdue,
            Err(ApiError::Stopped(Stopped::Left) | ApiError::Store(StoreError::Stopped(Stopped::Left))) => &self.left,
            Err(_) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A question that is waiting or worked on.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its path and parameters, as asked.
    pub question: String,
    /// Its watch: how long, and how far.
    pub watch: Arc<Watch>,
    /// Whether its turn has come.
    pub begun: bool,
}

/// Questions under way, and what became of the others.
#[derive(Debug, Default)]
pub struct Queries {
    /// What became of questions.
    pub counters: QueryCounters,
    /// How near the process is to its memory's limit.
    pub pressure: Arc<Pressure>,
    running: Mutex<(u64, BTreeMap<u64, Running>)>,
}

impl Queries {
    /// None yet, in a process with this much memory.
    #[must_use]
    pub fn new(pressure: Arc<Pressure>) -> Self {
        Self { pressure, ..Self::default() }
    }

    /// Those under way by number, the oldest first.
    pub fn running(&self) -> BTreeMap<u64, Running> {
        self.lock().1.clone()
    }

    fn enter(self: &Arc<Self>, question: String, limits: &QueryLimits) -> Result<Registered, ApiError> {
        let mut running = self.lock();
        if running.1.len() >= limits.concurrent.saturating_add(limits.waiting) || !self.pressure.admits(running.1.len()) {
            return Err(ApiError::Busy);
        }
        running.0 += 1;
        let number = running.0;
        let watch = Watch::new(limits.time);
        running.1.insert(number, Running { question, watch: Arc::clone(&watch), begun: false });
        Ok(Registered { queries: Arc::clone(self), number, watch })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (u64, BTreeMap<u64, Running>)> {
        // Each change is one step: the list is valid after any panic.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the list, left when the work is done.
#[derive(Debug)]
struct Registered {
    queries: Arc<Queries>,
    number: u64,
    watch: Arc<Watch>,
}

impl Registered {
    fn begin(&self) {
        if let Some(running) = self.queries.lock().1.get_mut(&self.number) {
            running.begun = true;
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.queries.lock().1.remove(&self.number);
        self.queries.counters.rows.fetch_add(self.watch.rows(), Ordering::Relaxed);
    }
}

/// Held by the request: hyper drops a request whose client has closed the connection, and the work is stopped then.
struct Asker(Arc<Watch>);

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// An endpoint: blocks while it works.
pub(super) type Endpoint = fn(&QueryState, Params) -> Result<Answer, ApiError>;

/// What the endpoints ask, behind a limit.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    state: QueryState,
    permits: Arc<Semaphore>,
    queries: Arc<Queries>,
}

impl Gate {
    pub(super) fn new(state: QueryState, queries: Arc<Queries>) -> Self {
        let permits = Arc::new(Semaphore::new(state.limits.concurrent));
        Self { state, permits, queries }
    }

    async fn answer(self, endpoint: Endpoint, params: Params, question: String) -> Result<Answer, ApiError> {
        let registered = self.queries.enter(question, &self.state.limits)?;
        let _asker = Asker(Arc::clone(&registered.watch));
        let turn = tokio::time::timeout(self.state.limits.patience, Arc::clone(&self.permits).acquire_owned());
        let permit = turn.await.map_err(|_| ApiError::Busy)?.map_err(|_| ApiError::Internal)?;
        registered.begin();
        let work = move || {
            // Held until the work is done; where the client has left, that is soon.
            let (_permit, registered) = (permit, registered);
            let start = std::time::Instant::now();
            let result = registered.watch.during(|| endpoint(&self.state, params));
            let counters = &self.queries.counters;
            counters.microseconds.fetch_add(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            // Here, since nobody is there to count what was left.
            counters.count(&result);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::Internal)?
    }
}

/// The route of an endpoint.
pub(super) fn get(endpoint: Endpoint) -> MethodRouter<Gate> {
    axum::routing::get(move |State(gate): State<Gate>, path: RawPathParams, headers: HeaderMap, uri: Uri| {
        serve(gate, endpoint, path, headers, uri)
    })
}

/// The longest question that is listed, in bytes.
const MAX_QUESTION: usize = 1000;

async fn serve(gate: Gate, endpoint: Endpoint, path: RawPathParams, headers: HeaderMap, uri: Uri) -> Response {
    let name = path.iter().next().map(|(_, value)| value.to_owned()).unwrap_or_default();
    let queries = Arc::clone(&gate.queries);
    let params = match Params::of(&uri, name, (gate.state.now)()) {
        Ok(params) => params,
        Err(error) => {
            queries.counters.failed.fetch_add(1, Ordering::Relaxed);
            return error.into_response();
        }
    };
    let question: String = uri.to_string().chars().take(MAX_QUESTION).collect();
    match gate.answer(endpoint, params, question).await {
        Ok(answer) => answer.respond(&headers),
        Err(error) => {
            if matches!(error, ApiError::Busy) {
                queries.counters.busy.fetch_add(1, Ordering::Relaxed);
            }
            error.into_response()
        }
    }
}
