//! The agent as a service: sampling, spool, shipping and the upload of symbols, each in a thread of its own.
//!
//! ```text
//! engine (the calling thread) --batch--> writer: encode, compress, spool --woken--> shipper --> collector
//!        `--object seen--> uploader --> collector
//! ```
//! The engine never waits for a disk or a network: what the writer cannot take is counted as lost.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use flamekeeper_profile::{Batch, Figure, Labels};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::budget::Ceilings;
use crate::budget::measure::CpuMeter;
use crate::config::Config;
use crate::config::value::Event;
use crate::engine::{Engine, EngineConfig, EngineStats, EventChoice, ObjectSeen, Target};
use crate::heap::desk::{Desk, DeskSocket};
use crate::identity::{Identity, IdentityConfig, machine_id};
use crate::metrics;
use crate::notify;
use crate::permissions::{self, Facts};
use crate::progress::Progress;
use crate::scrape::{Board, Scraper};
use crate::ship::{DRAIN, Phase, Shipper};
use crate::spool::Spool;
use crate::stop::StopFlag;
use crate::upload::{self, Uploader};
use crate::watchdog;

/// Batches that wait for the disk. Each is a window, so a disk may stall for some of them.
const WAITING_BATCHES: usize = 4;

/// Runs the agent until the flag is raised. Then the window that was begun is closed and spooled, and what the spool
/// holds is shipped for up to five seconds; the rest stays for the next start. The flag is raised when this returns.
///
/// # Errors
/// When sampling is not permitted or not possible, or the spool cannot be used; the error says what to do. Not when the
/// collector cannot be reached.
pub fn run(config: Config, stop: StopFlag, progress: Arc<Progress>) -> Result<()> {
    serve(config, stop, progress, &Turn { ready: &|| {}, another: &|| false })
}

/// How a run of the service stands to those before and after it in the same process: see [`crate::reload`].
pub(crate) struct Turn<'a> {
    /// Called once all of the service has started.
    pub(crate) ready: &'a dyn Fn(),
    /// Whether another run follows this one at once. Then nothing is shipped beyond the end of this one.
    pub(crate) another: &'a dyn Fn() -> bool,
}

pub(crate) fn serve(config: Config, stop: StopFlag, progress: Arc<Progress>, turn: &Turn<'_>) -> Result<()> {
    raise_file_limit();
    let (announce, seen) = sync_channel(upload::CHANNEL);
    let identity = Identity::new(IdentityConfig::from(&config));
    let announce = config.symbols.upload.then_some(announce);
    for lack in permissions::lacks(&Facts::read(&config)).into_iter().filter(|lack| !lack.fatal) {
        tracing::warn!("{lack}");
    }
    if config.credentials.token_file.is_some() && config.collector.is_open() {
        tracing::warn!(collector = %config.collector, "the token is sent over a network that others can read; use an https:// address");
    }
    let hidden_users = config.exclude.user_ids()?;
    let (board, base) = (Arc::<Board>::default(), identity.base().clone());
    let desk = Arc::<Desk>::default();
    let engine_config =
        EngineConfig { hidden_users, scraped: Arc::clone(&board), desk: Arc::clone(&desk), ..engine_config(&config, &identity, announce) };
    let mut engine = Engine::open(engine_config, identity).context("sampling cannot start")?;
    progress.attach(engine.stats());
    let spool = Arc::new(Spool::open(&config.spool_dir(), config.spool.max_bytes.0, &machine_id())?);
    let stats = engine.stats();
    let parts = Parts::start(&config, &stop, &spool, &progress, (seen, engine.meter(), &stats))?;
    let desk = answerer(&config, &stop, desk, engine.meter())?;
    let scraper = scraper(&config, &stop, (base, board), &progress, engine.meter())?;
    tracing::info!(
        collector = %config.collector, agent = %spool.agent(), event = stats.event, frequency_hz = config.sampling.frequency.hertz(),
        ring_bytes = stats.ring_bytes, user_only = stats.user_only, spool = %config.spool_dir().display(), "sampling"
    );
    notify::send("READY=1\nSTATUS=sampling");
    (turn.ready)();
    let sampled = engine.run(&stop, &mut |mut batch| {
        let waiting = [(Figure::SpoolBatches, &progress.spool_batches), (Figure::SpoolBytes, &progress.spool_bytes)];
        waiting.into_iter().for_each(|(figure, counter)| batch.figures.set(figure, Progress::get(counter)));
        parts.hand_over(batch, &stop, &spool);
    });
    tracing::info!(samples = stats.samples.get(), lost = stats.lost.get(), windows = stats.windows.get(), "sampling has ended");
    let another = (turn.another)();
    if !another {
        notify::send("STOPPING=1");
    }
    stop.raise();
    drop(engine);
    for (thread, name) in [(scraper, "scraper"), (desk, "desk")] {
        if let Some(thread) = thread {
            join(thread, name);
        }
    }
    parts.finish(if another { Duration::ZERO } else { DRAIN });
    spool.flush().unwrap_or_else(|error| tracing::error!(%error, "losses could not be written down"));
    sampled.context("sampling ended")
}

/// The engine's part of a configuration.
#[must_use]
pub fn engine_config(config: &Config, identity: &Identity, objects: Option<SyncSender<ObjectSeen>>) -> EngineConfig {
    let sampling = &config.sampling;
    EngineConfig {
        frequency: sampling.frequency.hertz(),
        window: sampling.window.duration(),
        stack_bytes: sampling.stack_bytes.bytes(),
        ring_bytes_per_cpu: sampling.ring_bytes.and_then(|ring| usize::try_from(ring.bytes()).ok()),
        event: match sampling.event {
            Event::Auto => EventChoice::Auto,
            Event::CpuClock => EventChoice::CpuClock,
            Event::Cycles => EventChoice::Cycles,
        },
        target: Target::Host,
        java_perf_map: config.java.perf_map,
        memory: config.memory.levels,
        page_faults: config.memory.page_faults.faults(),
        budget: Some(ceilings(config)),
        hidden_users: Vec::new(),
        host_labels: identity.host_labels(),
        objects,
        desk: Arc::default(),
        scraped: Arc::default(),
    }
}

/// What the agent may use on this host.
fn ceilings(config: &Config) -> Ceilings {
    config.budget.ceilings(crate::perf::cpus::online().len())
}

/// The threads beside the engine.
struct Parts {
    batches: SyncSender<Batch>,
    writer: JoinHandle<()>,
    phase: watch::Sender<Phase>,
    shipper: JoinHandle<()>,
    uploader: Option<JoinHandle<()>>,
    metrics: Option<JoinHandle<()>>,
    watchdog: Option<JoinHandle<()>>,
}

impl Parts {
    fn start(
        config: &Config,
        stop: &StopFlag,
        spool: &Arc<Spool>,
        progress: &Arc<Progress>,
        (seen, meter, stats): (Receiver<ObjectSeen>, &CpuMeter, &Arc<EngineStats>),
    ) -> Result<Self> {
        let (batches, waiting) = sync_channel(WAITING_BATCHES);
        let (phase, phases) = watch::channel(Phase::Running);
        let shipper = Shipper::new(Arc::clone(spool), &config.collector, &config.credentials, Arc::clone(progress))?;
        let runtime = runtime()?;
        let shipper = thread("fk-ship", meter, move || runtime.block_on(shipper.run(phases)))?;
        let (writer_spool, writer_progress) = (Arc::clone(spool), Arc::clone(progress));
        let writer = thread("fk-spool", meter, move || write(&waiting, &writer_spool, &writer_progress))?;
        let uploader = if config.symbols.upload {
            let uploader = Uploader::new(config, &spool.agent(), seen, stop.clone(), Arc::clone(progress))?;
            let runtime = self::runtime()?;
            let budget = stats.budget.as_ref().map(|state| (ceilings(config), Arc::clone(state)));
            Some(thread("fk-upload", meter, move || uploader.run(&runtime, budget))?)
        } else {
            None
        };
        let metrics = match config.metrics.listen {
            Some(address) => {
                let source = metrics::Source { stats: Arc::clone(stats), progress: Arc::clone(progress) };
                let server = metrics::Server::bind(address, source)?;
                let (runtime, stop) = (self::runtime()?, stop.clone());
                Some(thread("fk-metrics", meter, move || runtime.block_on(server.run(&stop)))?)
            }
            None => None,
        };
        let watchdog = match watchdog::pause() {
            Some(pause) => {
                let (stats, stop) = (Arc::clone(stats), stop.clone());
                Some(thread("fk-watchdog", meter, move || watchdog::run(pause, &stats, &stop))?)
            }
            None => None,
        };
        Ok(Self { batches, writer, phase, shipper, uploader, metrics, watchdog })
    }

    /// Hands a batch to the writer without waiting, but for the last ones.
    fn hand_over(&self, batch: Batch, stop: &StopFlag, spool: &Spool) {
        let refused = if stop.is_raised() {
            self.batches.send(batch).err().map(|error| error.0)
        } else {
            match self.batches.try_send(batch) {
                Ok(()) => None,
                Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => Some(batch),
            }
        };
        if let Some(batch) = refused {
            spool.count_unwritten(&batch.ledger);
            tracing::error!(samples = batch.ledger.taken, "the spool's disk is too slow; a window's samples are counted as lost");
        }
    }

    /// Ends the threads in the order in which samples pass through them; the shipper may go on for so long.
    fn finish(self, drain: Duration) {
        drop(self.batches);
        join(self.writer, "spool");
        // There is a receiver as long as the shipper runs; without one there is nothing to tell.
        _ = self.phase.send(Phase::Draining(Instant::now() + drain));
        join(self.shipper, "shipper");
        if let Some(uploader) = self.uploader {
            join(uploader, "uploader");
        }
        if let Some(metrics) = self.metrics {
            join(metrics, "metrics");
        }
        if let Some(watchdog) = self.watchdog {
            join(watchdog, "watchdog");
        }
    }
}

/// Writes batches to the spool until there will be no more.
fn write(batches: &Receiver<Batch>, spool: &Spool, progress: &Progress) {
    let mut failing = false;
    for batch in batches {
        match spool.push(batch) {
            Ok(_) if failing => tracing::info!("batches can be written to the spool again"),
            Ok(_) => {}
            // Said once, not for every window; each is counted.
            Err(error) if !failing => tracing::error!(%error, "a batch was not kept; its samples are counted as lost"),
            Err(_) => {}
        }
        let stats = spool.stats();
        failing = !stats.owed.is_empty() && stats.owed.lost(flamekeeper_profile::LossReason::SpoolUnwritable) > 0;
        progress.show_spool(&stats);
    }
}

/// The thread that answers what the command line asks about heaps; none where its socket cannot be made, which is no reason not to sample.
fn answerer(config: &Config, stop: &StopFlag, desk: Arc<Desk>, meter: &CpuMeter) -> Result<Option<JoinHandle<()>>> {
    let socket = match DeskSocket::open(&config.state_dir) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "`flamekeeper heap scan` has nobody to ask");
            return Ok(None);
        }
    };
    let stop = stop.clone();
    Ok(Some(thread("fk-desk", meter, move || socket.run(&desk, &stop))?))
}

/// The thread that scrapes heaps, where any are configured.
fn scraper(
    config: &Config,
    stop: &StopFlag,
    (base, board): (Labels, Arc<Board>),
    progress: &Arc<Progress>,
    meter: &CpuMeter,
) -> Result<Option<JoinHandle<()>>> {
    if config.scrape.is_empty() {
        return Ok(None);
    }
    let scraper = Scraper::new(&config.scrape, base, board, Arc::clone(progress))?;
    let (runtime, stop) = (runtime()?, stop.clone());
    Ok(Some(thread("fk-scrape", meter, move || runtime.block_on(scraper.run(&stop)))?))
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("the network runtime could not be started")
}

fn thread(name: &str, meter: &CpuMeter, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let meter = meter.clone();
    let counted = move || {
        meter.enter();
        body();
    };
    Builder::new().name(name.into()).spawn(counted).with_context(|| format!("the thread {name} could not be started"))
}

fn join(thread: JoinHandle<()>, name: &str) {
    if thread.join().is_err() {
        tracing::error!(name, "a thread has failed");
    }
}

/// Objects are opened while they wait for their upload: allows as many open files as this process may.
fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit that the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return;
    }
    limit.rlim_cur = limit.rlim_max.min(64 << 10).max(limit.rlim_cur);
    // SAFETY: the pointer is to a live, initialized rlimit.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "the limit of open files stays as it is");
    }
}
