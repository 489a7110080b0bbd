//! The server: one listener for agents, the page and the API.

mod alive;
mod listener;
mod metrics;
mod status;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use flamekeeper_profile::Timestamp;
use flamekeeper_symbolizer::child::ChildConverter;
use flamekeeper_symbolizer::{Conversion, StoreOptions, SymbolLimits, SymbolStore, Symbolize};

pub use self::alive::LifeSign;
use self::listener::{Connections, Listener};
use crate::access::{Gate, Tls, guard, session_routes};
use crate::config::{Config, StoreKind, SymbolsConfig};
use crate::debuginfod::{Debuginfod, DebuginfodLimits};
use crate::deploys::Marks;
use crate::http::{Queries, QueryLimits, QueryState, SymbolsState, query_routes, symbol_routes};
use crate::ingest::{Accepted, IngestLimits, IngestState, Uploads, ingest_routes};
use crate::memory::{MemoryPlan, Pressure};
use crate::store::{ClickHouseStore, EmbeddedStore, Retained, Retention, Store};
use crate::webhook::{Announcer, WebhookLimits, WebhookSources};
use crate::{assets, clock};

/// How often the coarser tiers are brought up to date.
const ROLL_UP_PERIOD: Duration = Duration::from_secs(10);
/// After how many of these old profiles are looked for.
const RETENTION_EVERY: u32 = 6;
/// How long requests that are under way may take after the end was asked for.
const SHUTDOWN_TIME: Duration = Duration::from_secs(10);
/// How often the process's memory is looked at.
const MEMORY_PERIOD: Duration = Duration::from_millis(100);
/// How often it is looked whether tokens and certificates have changed.
const ACCESS_PERIOD: Duration = Duration::from_secs(2);
const HOUR: u64 = 3600 * Timestamp::SECOND;
/// How far ahead of this host's clock a batch's window may start: an agent's clock that is further ahead is wrong, and what it sends
/// would stand in times that nobody asks about.
const FUTURE: u64 = HOUR;

/// A collector that is ready to serve: its address is bound and its store is open.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    store: Profiles,
    symbols: Arc<SymbolStore>,
    uploads: Arc<Uploads>,
    marks: Arc<Marks>,
    doors: Doors,
    life_sign: Option<LifeSign>,
    config: Config,
}

/// Who is let in.
#[derive(Clone, Debug)]
struct Doors {
    gate: Arc<Gate>,
    tls: Option<Arc<Tls>>,
    connections: Arc<Connections>,
}

impl Doors {
    fn open(config: &Config) -> Result<Self> {
        config.access.check(config.listen)?;
        let tls = config.access.tls()?.map(Tls::read).transpose().context("https cannot be served")?;
        let gate = Gate::open(&config.access).context("who is let in cannot be told")?;
        Ok(Self { gate: Arc::new(gate), tls: tls.map(Arc::new), connections: Arc::default() })
    }

    /// Reads again what has changed, again and again.
    async fn refresh(self) {
        let mut ticks = tokio::time::interval(ACCESS_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let doors = self.clone();
            let work = move || {
                doors.gate.refresh();
                doors.tls.iter().for_each(|tls| tls.refresh());
            };
            if let Err(error) = tokio::task::spawn_blocking(work).await {
                tracing::error!(%error, "tokens and certificates could not be looked at");
            }
        }
    }
}

/// Where profiles are kept: the embedded store is kept up by this program, ClickHouse keeps itself.
#[derive(Clone, Debug)]
enum Profiles {
    Embedded(Arc<EmbeddedStore>),
    ClickHouse(Arc<ClickHouseStore>),
}

impl Profiles {
    fn open(config: &Config) -> Result<Self> {
        let limits = MemoryPlan::new(config.memory).store(config.min_free_bytes);
        if config.store == StoreKind::Clickhouse {
            let store = ClickHouseStore::connect(&config.clickhouse.server()?, config.retention, limits, clock::now)?;
            return Ok(Self::ClickHouse(Arc::new(store)));
        }
        let folder = config.data_dir.join("profiles");
        make_directory(&folder)?;
        Ok(Self::Embedded(Arc::new(EmbeddedStore::open(&folder, limits)?)))
    }

    fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded(store) => Arc::<EmbeddedStore>::clone(store),
            Self::ClickHouse(store) => Arc::<ClickHouseStore>::clone(store),
        }
    }
}

fn make_directory(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the directory {}; name another by --data-dir", folder.display()))
}

impl Server {
    /// Binds the address and opens the store.
    ///
    /// # Errors
    /// Names the address or directory that cannot be had.
    pub fn bind(config: Config) -> Result<Self> {
        let doors = Doors::open(&config)?;
        let listener = TcpListener::bind(config.listen)
            .with_context(|| format!("cannot listen on {}; is another collector running there?", config.listen))?;
        let address = listener.local_addr().context("the bound address cannot be read")?;
        let store = Profiles::open(&config)?;
        let symbols = config.data_dir.join("symbols");
        make_directory(&symbols)?;
        let symbols = SymbolStore::open_with(&symbols, symbol_options(&config.symbols))
            .with_context(|| format!("cannot open the symbols in {}", symbols.display()))?;
        let uploads = config.data_dir.join("uploads");
        let uploads = Uploads::open(&uploads).with_context(|| format!("cannot open the uploads in {}", uploads.display()))?;
        let marks = Marks::open(config.data_dir.join("marks.jsonl"))?;
        Ok(Self {
            listener,
            address,
            store,
            symbols: Arc::new(symbols),
            uploads: Arc::new(uploads),
            marks: Arc::new(marks),
            doors,
            life_sign: None,
            config,
        })
    }

    /// The address that was bound; with port 0 in the configuration, the one that the system chose.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the page.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http{}://{}", if self.doors.tls.is_some() { "s" } else { "" }, self.address)
    }

    /// Gives life signs for as long as it serves and answers.
    #[must_use]
    pub fn with_life_sign(self, life_sign: Option<LifeSign>) -> Self {
        Self { life_sign, ..self }
    }

    /// What protects it, in words.
    #[must_use]
    pub fn protection(&self) -> String {
        self.config.access.protection(self.address)
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
        let (data, store) = (self.config.data_dir.display(), self.config.store_text());
        tracing::info!(address = %self.address, %data, store, access = self.config.access.protection(self.address), "collector is ready");
        let refresher = tokio::spawn(self.doors.clone().refresh());
        let keeper = tokio::spawn(keep(self.store.clone(), Arc::clone(&self.symbols), self.config.retention));
        let debuginfod = debuginfod(&self.config, &self.symbols)?;
        let asker = debuginfod.clone().map(|debuginfod| tokio::spawn(async move { debuginfod.run().await }));
        let pressure = Arc::new(Pressure::new(self.config.memory));
        let measurer = tokio::spawn(measure(Arc::clone(&pressure)));
        let announcer = announcer(&self.config, self.store.store(), names(debuginfod.as_ref(), &self.symbols))?;
        let teller = announcer.clone().map(|announcer| tokio::spawn(announcer.run()));
        let upkeep = (debuginfod, announcer);
        // Starting this again does not help a ClickHouse that hangs.
        let asked = if matches!(self.store, Profiles::Embedded(_)) { "/healthz" } else { "/" };
        let router = router(self.store.store(), (self.symbols, self.uploads, self.marks), upkeep, &self.config, &pressure, &self.doors);
        let alive = self.life_sign.map(|sign| tokio::spawn(sign.give(router.clone(), asked)));
        let (ending, ended) = tokio::sync::oneshot::channel();
        let signal = async move {
            shutdown.await;
            // The receiver waits until the server has ended.
            _ = ending.send(());
        };
        let Doors { tls, connections, .. } = self.doors;
        let server = Listener { listener, tls, connections }.serve(router, signal);
        let overdue = async {
            // A sender that is gone means that the server has ended by itself.
            _ = ended.await;
            tokio::time::sleep(SHUTDOWN_TIME).await;
        };
        tokio::select! {
            () = server => {}
            () = overdue => tracing::warn!("requests were cut off that had not ended in time"),
        }
        refresher.abort();
        keeper.abort();
        measurer.abort();
        asker.into_iter().chain(teller).chain(alive).for_each(|task| task.abort());
        tracing::info!("collector has ended");
        Ok(())
    }
}

/// What tells the configured webhook; none where none is configured.
fn announcer(config: &Config, store: Arc<dyn Store>, symbols: Arc<dyn Symbolize + Send + Sync>) -> Result<Option<Arc<Announcer>>> {
    let sources = WebhookSources { store, symbols, now: Arc::new(clock::now) };
    Ok(Announcer::new(&config.webhook, &config.data_dir.join("announced.jsonl"), sources, WebhookLimits::default())?)
}

/// What names functions: the store of symbols, by way of what fetches for it where there is that.
fn names(debuginfod: Option<&Arc<Debuginfod>>, symbols: &Arc<SymbolStore>) -> Arc<dyn Symbolize + Send + Sync> {
    match debuginfod {
        Some(debuginfod) => Arc::<Debuginfod>::clone(debuginfod),
        None => Arc::<SymbolStore>::clone(symbols),
    }
}

/// How symbols are kept and converted. The converter is the hidden subcommand of the program that serves.
fn symbol_options(config: &SymbolsConfig) -> StoreOptions {
    let (program, limits) = (config.converter.clone(), config.limits);
    let child = ChildConverter { program, arguments: vec![flamekeeper_symbolizer::child::SUBCOMMAND.into()], limits };
    StoreOptions {
        limits: SymbolLimits { store_bytes: config.max_bytes, ..SymbolLimits::default() },
        conversion: Conversion::Child(child),
        clock: clock::now,
    }
}

/// What asks the configured servers; none where none are configured.
fn debuginfod(config: &Config, symbols: &Arc<SymbolStore>) -> Result<Option<Arc<Debuginfod>>> {
    let servers = &config.symbols.debuginfod;
    if servers.urls.is_empty() {
        return Ok(None);
    }
    let directory = config.data_dir.join("debuginfod");
    Ok(Some(Arc::new(Debuginfod::new(servers, &directory, Arc::clone(symbols), DebuginfodLimits::default())?)))
}

fn router(
    store: Arc<dyn Store>,
    (symbols, uploads, marks): (Arc<SymbolStore>, Arc<Uploads>, Arc<Marks>),
    (debuginfod, announcer): (Option<Arc<Debuginfod>>, Option<Arc<Announcer>>),
    config: &Config,
    pressure: &Arc<Pressure>,
    doors: &Doors,
) -> Router {
    let plan = MemoryPlan::new(config.memory);
    let limits = IngestLimits {
        batch: flamekeeper_wire::Limits::default(),
        bytes_in_flight: plan.bodies(),
        decoders: plan.decoders(),
        object_bytes: 1 << 30,
        body_time: Duration::from_secs(30),
        accepted: Accepted { age: config.retention.raw, future: FUTURE, length: 24 * HOUR },
    };
    let mut ingest = IngestState::new(Arc::clone(&store), Arc::clone(&symbols), Arc::clone(&uploads), limits);
    ingest.debuginfod.clone_from(&debuginfod);
    let queries = Arc::new(Queries::new(Arc::clone(pressure)));
    ingest.pressure = Arc::clone(pressure);
    let status = status::StatusState {
        store: Arc::clone(&store),
        symbols: Arc::clone(&symbols),
        uploads,
        debuginfod: debuginfod.clone(),
        announcer,
        counters: Arc::clone(&ingest.counters),
        queries: Arc::clone(&queries),
        doors: doors.clone(),
        started: clock::now(),
    };
    let managed = SymbolsState::new(Arc::clone(&symbols), clock::now, SymbolLimits::default().object_bytes);
    let symbols = names(debuginfod.as_ref(), &symbols);
    let query = QueryState { store, symbols, now: Arc::new(clock::now), marks, limits: QueryLimits::default() };
    ingest_routes(ingest)
        .merge(query_routes(query, &queries))
        .merge(symbol_routes(managed))
        .merge(status::routes(status))
        .merge(session_routes(Arc::clone(&doors.gate)))
        .fallback(axum::routing::get(assets::serve))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&doors.gate), guard))
        .layer(axum::middleware::map_response(assets::guarded))
}

/// Looks at the process's memory again and again.
async fn measure(pressure: Arc<Pressure>) {
    let mut ticks = tokio::time::interval(MEMORY_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        pressure.measure();
    }
}

/// Derives the coarser tiers, deletes what is too old, and notes which symbols are used, again and again.
async fn keep(profiles: Profiles, symbols: Arc<SymbolStore>, retention: Retention) {
    let mut ticks = tokio::time::interval(ROLL_UP_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for tick in 0_u32.. {
        ticks.tick().await;
        let (profiles, symbols) = (profiles.clone(), Arc::clone(&symbols));
        let work = move || {
            let rarely = tick.is_multiple_of(RETENTION_EVERY);
            if rarely {
                symbols.note_uses();
            }
            if let Profiles::Embedded(store) = &profiles {
                roll_up(store);
                if rarely {
                    retain(store, &retention);
                }
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::error!(%error, "the store's upkeep ended early");
        }
    }
}

fn roll_up(store: &EmbeddedStore) {
    match store.roll_up(clock::now()) {
        Ok(rolled) => tracing::debug!(buckets = rolled.buckets, rows = rolled.rows, "profiles were merged into minutes and hours"),
        Err(error) => tracing::error!(%error, "profiles could not be merged into minutes and hours"),
    }
}

fn retain(store: &EmbeddedStore, retention: &Retention) {
    match store.retain(retention, store.trusted(clock::now())) {
        Ok(retained) if retained.by_size => tracing::warn!(
            slots = retained.slots,
            raw_from = retained.raw_from.as_seconds(),
            minute_from = retained.minute_from.as_seconds(),
            hour_from = retained.hour_from.as_seconds(),
            "the store is at its size limit or its disk is short: the oldest profiles were deleted"
        ),
        Ok(Retained { full: true, .. }) => {
            tracing::error!("the store is full and holds nothing old: agents are told to wait; raise retention.max_bytes or free its disk");
        }
        Ok(retained) if retained.slots > 0 => tracing::info!(slots = retained.slots, "old profiles were deleted"),
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "old profiles could not be deleted"),
    }
}
