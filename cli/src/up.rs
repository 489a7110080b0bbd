//! `flamekeeper up`: collector and agent of one host in one process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use flamekeeper_agent::config::budget::CpuCeiling;
use flamekeeper_agent::config::value::Frequency;
use flamekeeper_agent::progress::Progress;
use flamekeeper_agent::service;
use flamekeeper_agent::stop::StopFlag;
use flamekeeper_collector::Server;
use flamekeeper_collector::config::{TokenPlace, TokenSource};
use flamekeeper_transport::Scopes;

use crate::line::{ProgressLine, Rate};
use crate::{logging, stop};

const EXAMPLES: &str = "\
Examples:
  flamekeeper up                                    page on http://127.0.0.1:4040
  flamekeeper up --listen 0.0.0.0:4040 --token-file token        seen from other hosts, by whoever has the token
  flamekeeper up --data-dir /srv/flamekeeper
  flamekeeper up --frequency-hz 99

Data is kept in --data-dir: by default /var/lib/flamekeeper for root, else flamekeeper in $XDG_STATE_HOME (~/.local/state).
Sampling needs root, or the capabilities that `flamekeeper agent --help` lists.";

/// Arguments of `flamekeeper up`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Address of the page and the API; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", env = "FLAMEKEEPER_LISTEN", default_value = "127.0.0.1:4040")]
    listen: SocketAddr,
    /// File with a token (flamekeeper token create): the page asks for it, and lets nobody in without
    #[arg(long, value_name = "FILE", env = "FLAMEKEEPER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Let everybody in who reaches an address beyond the loopback interface
    #[arg(long)]
    insecure_listen: bool,
    /// Directory of everything that is kept
    #[arg(long, value_name = "PATH", env = "FLAMEKEEPER_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Samples a second on each busy CPU, 1 to 999
    #[arg(long, short = 'F', visible_alias = "frequency", value_name = "HZ", env = "FLAMEKEEPER_FREQUENCY_HZ", default_value = "19")]
    frequency_hz: Frequency,
    /// CPU time that the agent's part may use, in per cent of one core; more than an agent alone takes, so that names come soon
    #[arg(long, value_name = "PERCENT", env = "FLAMEKEEPER_BUDGET_CPU_PERCENT", default_value = "5")]
    budget_cpu_percent: CpuCeiling,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    logging::start("warn");
    let data_dir = arguments.data_dir.clone().map_or_else(default_data_dir, Ok)?;
    let (stop, collector_stop) = (StopFlag::new().context("cannot start")?, StopFlag::new().context("cannot start")?);
    stop::on_signals(&stop)?;
    let server = Server::bind(collector_config(arguments, &data_dir))?;
    let (address, progress) = (server.address(), Arc::<Progress>::default());
    let config = agent_config(arguments, address, &data_dir)?;
    eprintln!("flamekeeper: data in {}", data_dir.display());
    std::thread::scope(|scope| {
        let until = stop::raised(collector_stop.clone());
        let collector = spawn(scope, "collector", || server.run(until))?;
        let (agent_flag, agent_progress) = (stop.clone(), Arc::clone(&progress));
        // The names of the agent's threads begin with fk-: see `AgentCpu`.
        let agent = spawn(scope, "fk-agent", move || service::run(config, agent_flag, agent_progress))?;
        eprintln!("flamekeeper: the page is at http://{address}  (Ctrl-C ends)");
        show_progress(&progress, &stop, &|| agent.is_finished() || collector.is_finished());
        // The agent first: it ships the window that it had begun.
        stop.raise();
        let agent = join(agent, "agent");
        collector_stop.raise();
        join(collector, "collector").and(agent)
    })
}

/// As services do for root, and as the XDG base directory specification has it for others.
fn default_data_dir() -> Result<PathBuf> {
    if is_root() {
        return Ok("/var/lib/flamekeeper".into());
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state"));
    let state = state.or_else(home).ok_or_else(|| anyhow!("neither HOME nor XDG_STATE_HOME is set; give --data-dir"))?;
    Ok(state.join("flamekeeper"))
}

/// Whether this process runs as root: the owner of its entry in procfs is its effective user (proc(5)).
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}

fn collector_config(arguments: &Arguments, data_dir: &Path) -> flamekeeper_collector::config::Config {
    let data_dir = data_dir.join("collector");
    let mut config = flamekeeper_collector::config::Config { listen: arguments.listen, data_dir, ..Default::default() };
    // Who starts this wants to see names soon.
    config.symbols.limits.nice = 5;
    config.access.insecure_listen = arguments.insecure_listen;
    config.access.tokens.extend(arguments.token_file.clone().map(|file| TokenSource {
        name: "up".to_owned(),
        place: TokenPlace::File(file),
        scopes: Scopes::all(),
    }));
    config
}

fn agent_config(arguments: &Arguments, address: SocketAddr, data_dir: &Path) -> Result<flamekeeper_agent::config::Config> {
    let mut config = flamekeeper_agent::config::Config::default();
    let own = match address {
        // What listens everywhere is reached on the loopback interface.
        address if address.ip().is_unspecified() => format!("http://127.0.0.1:{}", address.port()),
        address => format!("http://{address}"),
    };
    config.collector = own.parse().context("the listen address cannot be reached by the agent")?;
    config.credentials.token_file.clone_from(&arguments.token_file);
    config.state_dir = data_dir.join("agent");
    config.sampling.frequency = arguments.frequency_hz;
    config.budget.cpu = Some(arguments.budget_cpu_percent);
    Ok(config)
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    name: &str,
    body: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    std::thread::Builder::new().name(name.into()).spawn_scoped(scope, body).with_context(|| format!("cannot start the thread {name}"))
}

fn join(thread: ScopedJoinHandle<'_, Result<()>>, name: &str) -> Result<()> {
    let result = thread.join().map_err(|_| anyhow!("the {name} has failed; its message stands above"))?;
    result.with_context(|| format!("the {name} ended"))
}

/// Shows what happens until it is to end.
fn show_progress(progress: &Progress, stop: &StopFlag, ended: &dyn Fn() -> bool) {
    let mut line = ProgressLine::new();
    let (mut samples_rate, mut cpu_rate) = (Rate::new(0.0), Rate::new(agent_cpu_seconds()));
    let mut shown = Instant::now();
    while !stop.is_raised() && !ended() {
        std::thread::sleep(Duration::from_millis(100));
        let Some(engine) = progress.engine() else { continue };
        if shown.elapsed() < Duration::from_secs(1) {
            continue;
        }
        shown = Instant::now();
        #[allow(clippy::cast_precision_loss)] // For display.
        let samples = samples_rate.per_second(engine.samples.get() as f64);
        let cpu = 100.0 * cpu_rate.per_second(agent_cpu_seconds());
        line.show(&format!(
            "{samples:.0} samples/s, {} lost, {} processes, {} batches stored, {} waiting, agent {cpu:.2} % of a core, {} MiB",
            engine.lost.get(),
            engine.processes.get(),
            Progress::get(&progress.batches_accepted),
            Progress::get(&progress.spool_batches),
            resident_mib(),
        ));
    }
    line.finish();
}

/// CPU time of the agent's threads, whose names begin with `fk-`; 0 where procfs does not tell.
fn agent_cpu_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let name = std::fs::read_to_string(thread.path().join("comm")).ok()?;
        let times = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        name.starts_with("fk-").then(|| times.split(' ').next()?.parse::<f64>().ok()).flatten()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// Resident memory of the whole process, collector included.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
