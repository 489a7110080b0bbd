//! The server: one listener for agents, the page and the API.

mod status;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use flamekeeper_profile::Timestamp;
use flamekeeper_symbolizer::{SymbolLimits, SymbolStore};

use crate::config::Config;
use crate::http::{QueryLimits, QueryState, query_routes};
use crate::ingest::{Accepted, IngestLimits, IngestState, ingest_routes};
use crate::store::{EmbeddedStore, Retention, Store, StoreLimits};
use crate::{assets, clock};

/// How often old rows are looked for.
const RETENTION_PERIOD: Duration = Duration::from_secs(60);
/// How long requests that are under way may take after the end was asked for.
const SHUTDOWN_TIME: Duration = Duration::from_secs(10);
const HOUR: u64 = 3600 * Timestamp::SECOND;

/// A collector that is ready to serve: its address is bound and its store is open.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    store: Arc<EmbeddedStore>,
    symbols: Arc<SymbolStore>,
    config: Config,
}

impl Server {
    /// Binds the address and opens the store.
    ///
    /// # Errors
    /// Names the address or directory that cannot be had.
    pub fn bind(config: Config) -> Result<Self> {
        let listener = TcpListener::bind(config.listen)
            .with_context(|| format!("cannot listen on {}; is another collector running there?", config.listen))?;
        let address = listener.local_addr().context("the bound address cannot be read")?;
        let (profiles, symbols) = (config.data_dir.join("profiles"), config.data_dir.join("symbols"));
        for folder in [&profiles, &symbols] {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the directory {}; name another by --data-dir", folder.display()))?;
        }
        let store = EmbeddedStore::open(&profiles, StoreLimits::default())?;
        let symbols = SymbolStore::open(&symbols, SymbolLimits::default())
            .with_context(|| format!("cannot open the symbols in {}", symbols.display()))?;
        Ok(Self { listener, address, store: Arc::new(store), symbols: Arc::new(symbols), config })
    }

    /// The address that was bound; with port 0 in the configuration, the one that the system chose.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready; requests under way are finished then, for at most 10 s.
    ///
    /// # Errors
    /// When the listener or the threads cannot be had.
    pub fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("collector")
            .enable_all()
            .build()
            .context("cannot start the collector's threads")?;
        let result = runtime.block_on(self.serve(shutdown));
        // What still blocks (a long merge) is not waited for: nothing of it is promised to anyone.
        runtime.shutdown_timeout(Duration::from_secs(1));
        result
    }

    async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        self.listener.set_nonblocking(true).context("cannot listen without blocking")?;
        let listener = tokio::net::TcpListener::from_std(self.listener).context("cannot listen")?;
        tracing::info!(address = %self.address, data = %self.config.data_dir.display(), "collector is ready");
        let keeper = tokio::spawn(keep(Arc::clone(&self.store), self.config.retention));
        let router = router(&self.store, self.symbols, &self.config);
        let (ending, ended) = tokio::sync::oneshot::channel();
        let signal = async move {
            shutdown.await;
            // The receiver waits until the server has ended.
            _ = ending.send(());
        };
        let server = axum::serve(listener, router).with_graceful_shutdown(signal).into_future();
        let overdue = async {
            // A sender that is gone means that the server has ended by itself.
            _ = ended.await;
            tokio::time::sleep(SHUTDOWN_TIME).await;
        };
        let result = tokio::select! {
            result = server => result.context("the listener failed"),
            () = overdue => { tracing::warn!("requests were cut off that had not ended in time"); Ok(()) }
        };
        keeper.abort();
        tracing::info!("collector has ended");
        result
    }
}

fn router(store: &Arc<EmbeddedStore>, symbols: Arc<SymbolStore>, config: &Config) -> Router {
    let store: Arc<dyn Store> = Arc::<EmbeddedStore>::clone(store);
    let limits = IngestLimits {
        batch: flamekeeper_wire::Limits::default(),
        bytes_in_flight: 256 << 20,
        decoders: 2,
        object_bytes: 1 << 30,
        body_time: Duration::from_secs(30),
        accepted: Accepted { age: config.retention.age, future: HOUR / 6, length: 24 * HOUR },
    };
    let ingest = IngestState::new(Arc::clone(&store), Arc::clone(&symbols), limits);
    let status = status::StatusState {
        store: Arc::clone(&store),
        symbols: Arc::clone(&symbols),
        counters: Arc::clone(&ingest.counters),
        started: clock::now(),
    };
    let query = QueryState { store, symbols, now: Arc::new(clock::now), limits: QueryLimits::default() };
    ingest_routes(ingest).merge(query_routes(query)).merge(status::routes(status)).fallback(axum::routing::get(assets::serve))
}

/// Deletes what is too old, again and again.
async fn keep(store: Arc<EmbeddedStore>, retention: Retention) {
    let mut ticks = tokio::time::interval(RETENTION_PERIOD);
    loop {
        ticks.tick().await;
        let store = Arc::clone(&store);
        match tokio::task::spawn_blocking(move || store.retain(&retention, clock::now())).await {
            Ok(Ok(retained)) if retained.by_size => {
                tracing::warn!(
                    rows = retained.rows,
                    kept_from = retained.kept_from.as_seconds(),
                    "the store is at its size limit: the oldest profiles were deleted"
                );
            }
            Ok(Ok(retained)) if retained.rows > 0 => tracing::debug!(rows = retained.rows, "old profiles were deleted"),
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => tracing::error!(%error, "old profiles could not be deleted"),
        }
    }
}
