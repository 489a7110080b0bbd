//! `flamekeeper token`.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use flamekeeper_collector::token_hash_line;
use flamekeeper_transport::{Token, private, token_lines};

use crate::output;

const ABOUT: &str = "\
Agents, people and programs show a token to a collector that asks for one. The collector has tokens, or only their hashes, in files that
[[access.tokens]] of its configuration names, each with scopes: ingest (send profiles), read (the page and every question), symbols (send
symbols), admin (everything). It reads the files again when they change: with two lines in one, the new token is good before the old ends.";

const EXAMPLES: &str = "\
Examples:
  flamekeeper token create --file /etc/flamekeeper/agents.token
  flamekeeper token create                                               on standard output
  flamekeeper token hash /etc/flamekeeper/agents.token > agents.hashes   for the collector's host, where nobody can learn the token from it";

/// Arguments of `flamekeeper token`.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token that nobody can guess
    Create {
        /// New file for it, which its owner alone may read [default: standard output]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the lines of hashes by which a collector knows the tokens of a file
    Hash {
        /// File of tokens
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::Create { file } => create(file.as_deref()),
        Command::Hash { file } => output::print(hashes(file)?.as_bytes()),
    }
}

fn create(file: Option<&Path>) -> Result<()> {
    let token = Token::random().context("the system gives no random numbers")?;
    let text = format!("{}\n", token.reveal());
    let Some(path) = file else { return output::print(text.as_bytes()) };
    // Never over a token that is in use.
    let created = File::options().write(true).create_new(true).mode(0o600).open(path);
    let mut created = created.with_context(|| format!("cannot make {}", path.display()))?;
    created.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("a token is in {}; for the collector: {}", path.display(), token_hash_line(&token));
    Ok(())
}

fn hashes(path: &Path) -> Result<String> {
    let (text, _) = private::read(path)?;
    let mut hashes = String::new();
    for (number, line) in token_lines(&text) {
        let token: Token = line.parse().with_context(|| format!("{}:{number}", path.display()))?;
        hashes += &format!("{}\n", token_hash_line(&token));
    }
    if hashes.is_empty() { bail!("{} holds no token", path.display()) } else { Ok(hashes) }
}
