//! The command line: one variant a subcommand.

use clap::{Parser, Subcommand};

use crate::{
    agent, check_config, collector, completions, convert_symbols, deploys, diff, doctor, flamegraph, heap, leaks, memory, package_files,
    record, requests, symbolize, symbols, token, top, up,
};

/// Profiles every process of a Linux host all the time, and keeps the profiles.
#[derive(Debug, Parser)]
#[command(name = "flamekeeper", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Profile this host: collector, agent and page in one process
    Up(Box<up::Arguments>),
    /// Run the agent: sample this host and ship to a collector
    Agent(Box<agent::Arguments>),
    /// Run the collector: receive, store, answer, serve the page
    Collector(Box<collector::Arguments>),
    /// Profile one program, without a collector, into a file
    Record(Box<record::Arguments>),
    /// Ask a collector for the functions that took the most
    Top(top::Arguments),
    /// Ask a collector for a flamegraph, and write it to a file
    Flamegraph(flamegraph::Arguments),
    /// Compare before and after a deploy, and fail where a function takes more
    Diff(Box<diff::Arguments>),
    /// List deploys, and mark changes that no version shows
    Deploys(deploys::Arguments),
    /// Post how many requests a service served, and list what was posted
    Requests(requests::Arguments),
    /// Have a service's live heap sampled, and look at what is
    Heap(heap::Arguments),
    /// Ask a collector which stacks leak memory, and how sure that is
    Leaks(leaks::Arguments),
    /// Ask a collector which services' memory grows, and until when it lasts
    Memory(memory::Arguments),
    /// Manage a collector's symbols: what names functions
    Symbols(symbols::Arguments),
    /// Ask a collector for the names of addresses in an object
    Symbolize(symbolize::Arguments),
    /// Convert one object's symbols: started by the collector
    #[command(hide = true)]
    ConvertSymbols(convert_symbols::Arguments),
    /// Make tokens, by which a collector lets agents and people in
    Token(token::Arguments),
    /// Check a configuration file of the agent or the collector
    CheckConfig(check_config::Arguments),
    /// Say what a host lacks for the agent and the collector, and what to do
    Doctor(doctor::Arguments),
    /// Print the completions of a shell
    Completions(completions::Arguments),
    /// Write man pages and completions: for whoever makes a package
    #[command(hide = true)]
    PackageFiles(package_files::Arguments),
}
