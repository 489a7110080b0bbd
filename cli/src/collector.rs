//! `flamekeeper collector`, and what one does to its data while it does not run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use flamekeeper_agent::stop::StopFlag;
use flamekeeper_agent::{notify, watchdog};
use flamekeeper_collector::config::{Args, Config};
use flamekeeper_collector::{LifeSign, Server, backup, store};

use crate::{logging, output, stop};

const EXAMPLES: &str = "\
Examples:
  flamekeeper collector                                     on http://127.0.0.1:4040, data in /var/lib/flamekeeper
  flamekeeper collector --listen 0.0.0.0:4040 --tls-cert fk.pem --tls-key fk.key --client-ca agents.pem
  flamekeeper collector --config /etc/flamekeeper/collector.toml
  flamekeeper collector --store clickhouse --clickhouse-url http://clickhouse:8123
  flamekeeper collector migrate --clickhouse-url http://clickhouse:8123   makes or changes the tables in ClickHouse
  flamekeeper collector check --data-dir /srv/profiles
  flamekeeper collector backup --data-dir /srv/profiles /mnt/backup/2026-11-24
  flamekeeper collector restore /mnt/backup/2026-11-24 --data-dir /srv/profiles

The collector needs no privileges. On the loopback interface every user of the host is let in. Beyond it the collector starts only
with tokens, client certificates or a trusted proxy ([access] in its configuration; flamekeeper token create), or --insecure-listen.
FLAMEKEEPER_LOG sets what is logged (info by default).";

/// Arguments of `flamekeeper collector`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    collector: Args,
    #[command(subcommand)]
    action: Option<Action>,
}

/// What is done with a collector's store instead of serving it.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Look at every entry of the stored profiles; exits with 1 where something is damaged
    Check {
        #[command(flatten)]
        place: Place,
    },
    /// Copy profiles and symbols into a new directory
    Backup {
        #[command(flatten)]
        place: Place,
        /// The directory of the backup, which must be empty or not there
        #[arg(value_name = "TO")]
        to: PathBuf,
    },
    /// Make the data directory out of a backup; it must be empty or not there
    Restore {
        /// The directory of the backup
        #[arg(value_name = "FROM")]
        from: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Make the tables in ClickHouse, or bring them up to date with this program and the configured retention
    Migrate(Box<Args>),
}

/// Where the data are: found as the collector finds them.
#[derive(Debug, clap::Args)]
struct Place {
    /// Configuration file (TOML) [default: /etc/flamekeeper/collector.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "FLAMEKEEPER_COLLECTOR_CONFIG")]
    config: Option<PathBuf>,
    /// Directory of profiles and symbols [default: /var/lib/flamekeeper]
    #[arg(long, value_name = "PATH", env = "FLAMEKEEPER_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

impl Place {
    fn data_dir(&self) -> Result<PathBuf> {
        let arguments = Args { config: self.config.clone(), data_dir: self.data_dir.clone(), ..Args::default() };
        Ok(arguments.load()?.data_dir)
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.action {
        None => serve(&arguments.collector).map(|()| ExitCode::SUCCESS),
        Some(Action::Migrate(arguments)) => migrate(&arguments.load()?),
        Some(Action::Check { place }) => check(place),
        Some(Action::Backup { place, to }) => {
            let copied = backup::backup(&place.data_dir()?, to)?;
            told(&format!("{} files, {} bytes were copied to {}\n", copied.files, copied.bytes, to.display()))
        }
        Some(Action::Restore { from, place }) => {
            let data_dir = place.data_dir()?;
            let copied = backup::restore(from, &data_dir)?;
            told(&format!("{} files, {} bytes were restored to {}\n", copied.files, copied.bytes, data_dir.display()))
        }
    }
}

/// Says what it did in one line.
fn migrate(config: &Config) -> Result<ExitCode> {
    let clickhouse = &config.clickhouse;
    let migrated = store::migrate(&clickhouse.server()?, clickhouse.cluster.as_deref(), &config.retention)?;
    let (url, database, to) = (&clickhouse.url, &clickhouse.database, migrated.to);
    let done = match migrated.from {
        _ if !migrated.changed => "has already",
        None => "was made with",
        Some(_) => "was brought to",
    };
    told(&format!("the database {database} at {url} {done} version {to} of the schema\n"))
}

/// Said where a store cannot even be opened.
const UNOPENED: &str = "the profiles could not be checked; where they are damaged, restore a backup (flamekeeper collector restore), or move them away and start anew";

fn told(text: &str) -> Result<ExitCode> {
    output::print(text.as_bytes()).map(|()| ExitCode::SUCCESS)
}

fn check(place: &Place) -> Result<ExitCode> {
    let data_dir = place.data_dir()?;
    let checked = flamekeeper_collector::check(&data_dir).context(UNOPENED)?;
    let mut text: String = checked.damages.iter().map(|damage| format!("damaged: {damage}\n")).collect();
    text += &match checked.files {
        0 => format!("{} entries looked at, {} damaged\n", checked.entries, checked.damaged),
        files => format!("{files} files are not as the collector left them; no entry was looked at\n"),
    };
    if checked.damaged > 0 {
        let folder = data_dir.display();
        text += &format!("Restore a backup: flamekeeper collector restore BACKUP --data-dir DIR, with {folder} moved away.\n");
        text += &match checked.files {
            0 => "Without one the collector still runs: a question that meets a damaged entry fails, until retention deletes its time.\n"
                .to_owned(),
            _ => format!(
                "Without one, copy {folder}/profiles, then remove profiles/sealed in it: what can be read is opened then, and journals are \
                 cut off at the first place that cannot. Check again.\n"
            ),
        };
    }
    output::print(text.as_bytes())?;
    Ok(if checked.damaged == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn serve(arguments: &Args) -> Result<()> {
    let config = arguments.load()?;
    if arguments.print_config {
        return output::print(config.to_string().as_bytes());
    }
    logging::start("info");
    let flag = StopFlag::new().context("the stop flag could not be made")?;
    stop::on_signals(&flag)?;
    let store = config.store_text();
    let tell = Arc::new(|| notify::send("WATCHDOG=1"));
    let server = Server::bind(config)?.with_life_sign(watchdog::pause().map(|pause| LifeSign { pause, tell }));
    eprintln!("flamekeeper: the page is at {}, the store is {store}", server.url());
    eprintln!("flamekeeper: {}", server.protection());
    notify::send("READY=1");
    let ran = server.run(stop::raised(flag));
    notify::send("STOPPING=1");
    ran
}
