//! `flamekeeper package-files`: what a package has beside the programs, made from their own command lines.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

/// Arguments of `flamekeeper package-files`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder that gets `man/` and `completions/`
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (man, completions) = (arguments.folder.join("man"), arguments.folder.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let (command, agent) = (crate::arguments::Arguments::command, flamekeeper_agent::program::Arguments::command);
    for make in [&command as &dyn Fn() -> Command, &agent] {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut command = make();
            let name = command.get_name().to_owned();
            clap_complete::generate_to(shell, &mut command, name, &completions).context("cannot write completions")?;
        }
    }
    let page = Man::new(agent()).section("8");
    page.generate_to(&man).with_context(|| format!("cannot write {}", page.get_filename()))?;
    // Each subcommand gets a page of its own, as git's have: flamekeeper-record(1).
    clap_mangen::generate_to(command(), &man).context("cannot write man pages")
}
