//! What agents send: batches and symbols, capped, checked and stored before they are acknowledged.

mod error;
mod profiles;
mod rates;
mod symbols;
mod validate;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use axum::routing::{post, put};
use flamekeeper_profile::Timestamp;
use flamekeeper_symbolizer::SymbolStore;
use flamekeeper_wire::{COLLECTOR_ID, Limits, gzip};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use error::IngestError;
pub use symbols::{UploadCounters, Uploads};
pub use validate::Accepted;

use crate::debuginfod::Debuginfod;
use crate::memory::Pressure;
use crate::store::Store;

/// Bounds on what is taken in.
#[derive(Clone, Copy, Debug)]
pub struct IngestLimits {
    /// What one batch may hold.
    pub batch: Limits,
    /// Bytes of bodies that may be in memory at once, as sent.
    pub bytes_in_flight: usize,
    /// Batches that are decoded at once; each may take some 300 MB at the worst.
    pub decoders: usize,
    /// The largest object whose symbols are taken, in bytes, decompressed.
    pub object_bytes: usize,
    /// How long a sender may take for its body.
    pub body_time: Duration,
    /// Which windows are taken.
    pub accepted: Accepted,
}

/// Counts since the collector started.
#[derive(Debug, Default)]
pub struct IngestCounters {
    /// Batches that were sent again.
    pub duplicates: AtomicU64,
    /// Bodies that were refused for good.
    pub rejected: AtomicU64,
    /// Bodies that were sent away for now.
    pub deferred: AtomicU64,
    /// Of both, how many for each reason ([`IngestError::reason`]).
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

impl IngestCounters {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a batch that was not taken.
    fn refuse(&self, error: &IngestError) {
        Self::count(if error.pause().is_some() { &self.deferred } else { &self.rejected });
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry(error.reason()).or_default() += 1;
    }

    /// Batches that were not taken, for now or for good, by reason.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the endpoints work on.
#[derive(Clone)]
pub struct IngestState {
    /// Where batches go.
    pub store: Arc<dyn Store>,
    /// Where symbols go.
    pub symbols: Arc<SymbolStore>,
    /// Uploads that are under way.
    pub uploads: Arc<Uploads>,
    /// What is told of the objects that profiles bring; none where no servers are asked.
    pub debuginfod: Option<Arc<Debuginfod>>,
    /// The wall clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Bounds.
    pub limits: IngestLimits,
    /// Counts.
    pub counters: Arc<IngestCounters>,
    /// How near the process is to its memory's limit.
    pub pressure: Arc<Pressure>,
    gates: Arc<Gates>,
}

#[derive(Debug)]
struct Gates {
    /// Of batches, for each agent.
    rates: rates::Rates,
    /// Of bodies in memory, in KiB.
    bodies: Arc<Semaphore>,
    decoders: Arc<Semaphore>,
    /// One upload of symbols is read and converted at a time: a conversion takes many times the object's size.
    converter: Arc<Semaphore>,
}

impl std::fmt::Debug for IngestState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IngestState").field("limits", &self.limits).field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl IngestState {
    /// The state over a store, with the real clock.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, symbols: Arc<SymbolStore>, uploads: Arc<Uploads>, limits: IngestLimits) -> Self {
        let gates = Gates {
            rates: rates::Rates::default(),
            bodies: Arc::new(Semaphore::new(kibibytes(limits.bytes_in_flight) as usize)),
            decoders: Arc::new(Semaphore::new(limits.decoders)),
            converter: Arc::new(Semaphore::new(1)),
        };
        let (debuginfod, now, counters) = (None, Arc::new(crate::clock::now), Arc::default());
        Self { store, symbols, uploads, debuginfod, now, limits, counters, pressure: Arc::default(), gates: Arc::new(gates) }
    }

    /// Reads a body of at most `limit` bytes, as long as there is memory for it. The permit stands for that memory.
    async fn read(&self, headers: &HeaderMap, body: Body, limit: usize) -> Result<(Bytes, OwnedSemaphorePermit), IngestError> {
        let stated = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let size = stated.unwrap_or(limit);
        if size > limit {
            return Err(IngestError::TooLarge { limit });
        }
        let in_memory = (kibibytes(self.limits.bytes_in_flight) as usize).saturating_sub(self.gates.bodies.available_permits());
        if !self.pressure.admits(in_memory) {
            return Err(IngestError::Busy);
        }
        let permit = Arc::clone(&self.gates.bodies).try_acquire_many_owned(kibibytes(size).max(1)).map_err(|_| IngestError::Busy)?;
        let read = tokio::time::timeout(self.limits.body_time, axum::body::to_bytes(body, size)).await;
        match read {
            Err(_) => Err(IngestError::Slow { seconds: self.limits.body_time.as_secs() }),
            // hyper holds a body to its stated length, so more than `size` can only come where none was stated.
            Ok(Err(error)) if stated.is_none() && is_length_limit(&error) => Err(IngestError::TooLarge { limit }),
            Ok(Err(error)) => Err(IngestError::Cut(error)),
            Ok(Ok(bytes)) => Ok((bytes, permit)),
        }
    }
}

fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

fn is_length_limit(error: &axum::Error) -> bool {
    error.to_string().contains("length limit")
}

/// The body as it was before compression, at most `limit` bytes.
fn decompressed<'a>(headers: &HeaderMap, body: &'a [u8], limit: usize) -> Result<std::borrow::Cow<'a, [u8]>, IngestError> {
    match headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
        None | Some(b"identity") => Ok(body.into()),
        Some(b"gzip") => Ok(gzip::decompress(body, limit)?.into()),
        Some(other) => Err(IngestError::Encoding(String::from_utf8_lossy(other).chars().take(40).collect())),
    }
}

/// The routes of all that agents send.
pub fn ingest_routes(state: IngestState) -> Router {
    use flamekeeper_wire::symbols::{OFFERS_PATH, UPLOAD_PATH};
    let identity = HeaderValue::from_str(state.uploads.identity()).ok();
    let identify = move |mut response: Response| {
        if let Some(identity) = &identity {
            response.headers_mut().insert(HeaderName::from_static(COLLECTOR_ID), identity.clone());
        }
        std::future::ready(response)
    };
    Router::new()
        .route(flamekeeper_wire::PROFILES_PATH, post(profiles::receive))
        .route(OFFERS_PATH, post(symbols::offers))
        .route(&format!("{UPLOAD_PATH}{{build_id}}"), put(symbols::upload))
        .route(&format!("{UPLOAD_PATH}{{build_id}}/parts/{{lease}}/{{offset}}"), put(symbols::part))
        .layer(axum::middleware::map_response(identify))
        .with_state(state)
}
