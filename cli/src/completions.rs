//! `flamekeeper completions`.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  flamekeeper completions bash > /etc/bash_completion.d/flamekeeper
  flamekeeper completions zsh > ~/.zfunc/_flamekeeper     (with ~/.zfunc in fpath, before compinit)
  flamekeeper completions fish > ~/.config/fish/completions/flamekeeper.fish";

/// Arguments of `flamekeeper completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::arguments::Arguments::command(), "flamekeeper", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}
