//! Debug information of objects that nobody sent, from debuginfod servers: debuginfod(8), debuginfod-client-config(7).
//!
//! Asked for are objects with a GNU build id that have no symbols, or poor ones, which tell no lines: those that a query met at once,
//! and those that profiles bring when nothing else waits, some minutes later, since hosts send what they have first, and slowly. What a
//! server has is converted into the symbol store like an upload, so that the next query has the names, and the server is never asked
//! for it again, but for what lacks companions, a day later. Where it refers to a supplementary file (`dwz`), that is asked for too, by
//! its own build id, and both are converted together. That a server has nothing is remembered for a time, over restarts too. One object is
//! fetched at a time.

mod absent;
mod client;
mod connect;
mod wanted;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flamekeeper_profile::{BuildId, BuildIdKind, Svma, Tables};
use flamekeeper_symbolizer::{SymbolStore, Symbolize, Symbolized, SymbolsPresent};
use tokio::sync::Notify;

use self::absent::AbsentFile;
use self::client::{Artifact, Client};
pub use self::connect::TrustError;
pub(crate) use self::connect::{ConnectError, Connector};
use self::wanted::Wanted;
use crate::clock;

/// Which servers are asked, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebuginfodServers {
    /// Their addresses, `http://` or `https://`, in the order in which they are asked.
    pub urls: Vec<String>,
    /// A file of certificates (PEM) that are trusted beside those of the host.
    pub ca: Option<PathBuf>,
    /// Whether objects are asked for as soon as profiles bring them, before a query wants them.
    pub ahead: bool,
}

/// What asking may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebuginfodLimits {
    /// Most bytes of an object.
    pub object_bytes: u64,
    /// Longest time until a connection is made.
    pub connect: Duration,
    /// Longest time without a byte of the answer.
    pub idle: Duration,
    /// Longest time for one answer.
    pub answer: Duration,
    /// Time between two objects.
    pub pause: Duration,
    /// Time from when a profile brings an object until it is asked for.
    pub seen_after: Duration,
    /// Time between two objects that no query has met.
    pub seen_pause: Duration,
    /// Most bytes a second, in the long run, that are fetched for objects that no query has met.
    pub seen_bytes: u64,
    /// How long it is remembered that no server has an object.
    pub absent: Duration,
    /// How long nobody asks for an object again where a server failed, or sent what cannot be converted.
    pub failed: Duration,
    /// Most objects that wait.
    pub waiting: usize,
}

impl Default for DebuginfodLimits {
    fn default() -> Self {
        Self {
            object_bytes: 1 << 30,
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            answer: Duration::from_secs(600),
            pause: Duration::from_secs(1),
            seen_after: Duration::from_secs(300),
            seen_pause: Duration::from_secs(5),
            seen_bytes: 4 << 20,
            absent: Duration::from_secs(24 * 3600),
            failed: Duration::from_secs(600),
            waiting: 10_000,
        }
    }
}

/// How often what happened.
#[derive(Debug, Default)]
pub struct DebuginfodCounters {
    /// Objects whose symbols were fetched and stored.
    pub found: AtomicU64,
    /// Objects that no server has.
    pub absent: AtomicU64,
    /// Objects that could not be fetched or converted.
    pub failed: AtomicU64,
}

/// What cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DebuginfodError {
    /// No request could go to a server of this address.
    #[error("{0:?} is not the address of a debuginfod server, such as \"https://debuginfod.debian.net\", without a user's name")]
    Address(String),
    /// No https server can be trusted.
    #[error("cannot ask debuginfod servers: {0}")]
    Trust(#[from] TrustError),
    /// The directory for what is fetched could not be made, or what it holds could not be read.
    #[error("cannot use the directory {path}: {error}", path = .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// Asks debuginfod servers for what is missing.
#[derive(Debug)]
pub struct Debuginfod {
    client: Client,
    store: Arc<SymbolStore>,
    ahead: bool,
    limits: DebuginfodLimits,
    wanted: Wanted,
    absent: Mutex<AbsentFile>,
    noted: Notify,
    counters: DebuginfodCounters,
}

/// What became of one object.
enum Outcome {
    /// Its symbols were stored, made from this many bytes.
    Found(u64),
    Absent,
    Failed,
    /// Its symbols are good already.
    Good,
}

impl Debuginfod {
    /// Asks these servers, in this order. What is fetched stands in the directory until it is converted.
    ///
    /// # Errors
    /// [`DebuginfodError`].
    pub fn new(
        servers: &DebuginfodServers,
        directory: &Path,
        store: Arc<SymbolStore>,
        limits: DebuginfodLimits,
    ) -> Result<Self, DebuginfodError> {
        let failed = |error| DebuginfodError::Directory { path: directory.to_owned(), error };
        std::fs::create_dir_all(directory).map_err(failed)?;
        let client = Client::new(&servers.urls, servers.ca.as_deref(), directory, limits)?;
        let wanted = Wanted::new(limits.waiting);
        let (absent, known) = AbsentFile::open(directory, client.servers(), clock::now(), limits.absent).map_err(failed)?;
        for (id, age) in known {
            wanted.settle(id, Instant::now() + limits.absent.saturating_sub(age));
        }
        let (ahead, absent, noted, counters) = (servers.ahead, Mutex::new(absent), Notify::new(), DebuginfodCounters::default());
        Ok(Self { client, store, ahead, limits, wanted, absent, noted, counters })
    }

    /// How often what happened.
    #[must_use]
    pub const fn counters(&self) -> &DebuginfodCounters {
        &self.counters
    }

    /// Serves what was noted, for ever.
    pub async fn run(&self) {
        let mut seen_from = Instant::now();
        loop {
            while let Some(id) = self.wanted.next() {
                if self.serve(id).await.is_some() {
                    tokio::time::sleep(self.limits.pause).await;
                }
            }
            let now = Instant::now();
            let next = if now < seen_from { Err(Some(seen_from)) } else { self.wanted.next_seen(now) };
            match next {
                Ok(id) => {
                    if let Some(bytes) = self.serve(id).await {
                        let rate = Duration::from_secs_f64(bytes as f64 / self.limits.seen_bytes.max(1) as f64);
                        seen_from = Instant::now() + self.limits.seen_pause.max(rate);
                    }
                }
                // What a query notes meanwhile does not wait for that time; whether it came or was noted is the same.
                Err(Some(wake)) => _ = tokio::time::timeout_at(wake.into(), self.noted.notified()).await,
                Err(None) => self.noted.notified().await,
            }
        }
    }

    /// Asks for one object, and remembers the outcome. The bytes that were fetched of it; none where nobody was asked.
    async fn serve(&self, id: BuildId) -> Option<u64> {
        let (counter, settled, bytes) = match self.ask(&id).await {
            Outcome::Good => {
                self.wanted.settle(id, Instant::now() + self.limits.absent);
                return None;
            }
            Outcome::Found(bytes) => (&self.counters.found, self.limits.absent, bytes),
            Outcome::Absent => {
                self.note_absent(&id);
                (&self.counters.absent, self.limits.absent, 0)
            }
            Outcome::Failed => (&self.counters.failed, self.limits.failed, 0),
        };
        self.wanted.settle(id, Instant::now() + settled);
        counter.fetch_add(1, Ordering::Relaxed);
        Some(bytes)
    }

    fn note_absent(&self, id: &BuildId) {
        let mut file = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.add(id, clock::now()) {
            // After a restart it is asked for again.
            tracing::debug!(build_id = %id, %error, "that no debuginfod server has an object could not be noted");
        }
    }

    /// Notes an object that has no names, or poor ones, which tell no lines. Cheap, and never waits.
    fn note_poor(&self, id: Option<&BuildId>) {
        if let Some(id) = id.filter(|id| self.is_poor(id))
            && self.wanted.note(id, Instant::now())
        {
            self.noted.notify_one();
        }
    }

    /// Notes the objects that a profile brings and that have no names, or poor ones. As cheap.
    pub fn note_seen(&self, tables: &Tables) {
        if !self.ahead {
            return;
        }
        let now = Instant::now();
        let ids = tables.objects().iter().filter_map(|(_, object)| object.build_id.as_ref());
        let mut any = false;
        for id in ids.filter(|id| self.is_poor(id)) {
            any |= self.wanted.note_seen(id, now, now + self.limits.seen_after);
        }
        if any {
            self.noted.notify_one();
        }
    }

    fn is_poor(&self, id: &BuildId) -> bool {
        id.kind() == BuildIdKind::Gnu && self.store.source(id).is_none_or(|source| source < SymbolsPresent::GoTable)
    }

    async fn ask(&self, id: &BuildId) -> Outcome {
        let stored = self.store.source(id).unwrap_or(SymbolsPresent::None);
        if stored >= SymbolsPresent::GoTable {
            return Outcome::Good;
        }
        // The object itself has no more than the symbols that it has on every host.
        let artifacts =
            if stored == SymbolsPresent::None { &[Artifact::DebugInfo, Artifact::Executable][..] } else { &[Artifact::DebugInfo] };
        let mut failed = false;
        for artifact in artifacts {
            for server in self.client.servers() {
                match self.client.fetch(server, id, *artifact).await {
                    Ok(None) => {}
                    Ok(Some((file, bytes))) => match self.add(id, file).await {
                        Ok(more) => return Outcome::Found(bytes.saturating_add(more)),
                        Err(error) => {
                            failed = true;
                            tracing::info!(build_id = %id, %server, %error, "what a debuginfod server sent was not stored");
                        }
                    },
                    Err(error) => {
                        failed = true;
                        tracing::info!(build_id = %id, %server, %error, "a debuginfod server did not answer well");
                    }
                }
            }
        }
        if failed { Outcome::Failed } else { Outcome::Absent }
    }

    /// Stores what was fetched, with the supplementary file that it refers to where a server has that. The bytes of the latter.
    async fn add(&self, id: &BuildId, file: File) -> anyhow::Result<u64> {
        let supplementary = match SymbolStore::supplementary(&file) {
            Some(other) => self.fetch_supplementary(id, &other).await,
            None => None,
        };
        let bytes = supplementary.as_ref().map_or(0, |(_, bytes)| *bytes);
        let (store, id) = (Arc::clone(&self.store), id.clone());
        let add = move || match supplementary {
            Some((supplementary, _)) => store.add_with_supplementary(&id, &file, &supplementary),
            None => store.add_file(Some(&id), &file),
        };
        tokio::task::spawn_blocking(add).await??;
        Ok(bytes)
    }

    async fn fetch_supplementary(&self, of: &BuildId, id: &BuildId) -> Option<(File, u64)> {
        for server in self.client.servers() {
            match self.client.fetch(server, id, Artifact::DebugInfo).await {
                Ok(None) => {}
                Ok(found) => return found,
                Err(error) => tracing::info!(build_id = %id, %server, %error, "a debuginfod server did not answer well"),
            }
        }
        tracing::info!(build_id = %of, supplementary = %id, "no debuginfod server has the supplementary file of an object's debug information");
        None
    }
}

impl Symbolize for Debuginfod {
    /// As the store does, and notes objects that it names badly.
    fn symbolize(&self, id: Option<&BuildId>, path: &str, address: Svma) -> Symbolized {
        self.note_poor(id);
        Symbolize::symbolize(&*self.store, id, path, address)
    }

    fn symbolize_all(&self, id: Option<&BuildId>, path: &str, addresses: &[Svma]) -> Vec<Symbolized> {
        self.note_poor(id);
        Symbolize::symbolize_all(&*self.store, id, path, addresses)
    }
}
