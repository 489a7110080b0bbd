//! The collector: ingest, store, query, render, and the web page.

mod access;
mod assets;
pub mod backup;
mod clock;
pub mod config;
pub mod debuginfod;
pub mod deploys;
pub mod files;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod growth;
pub mod http;
pub mod ingest;
pub mod leaks;
pub mod memory;
pub mod query;
pub mod render;
pub mod requests;
pub mod selector;
mod server;
pub mod store;
pub mod watch;
pub mod webhook;

use std::future::Future;
use std::path::Path;

pub use server::{LifeSign, Server};

/// The line of a file of tokens that lets the bearer of a token in without telling the token.
#[must_use]
pub fn token_hash_line(token: &flamekeeper_transport::Token) -> String {
    access::hash_line(token)
}

/// Looks at the files of the profiles in the data directory of a collector that does not run, and where they are as it left them at every entry.
///
/// # Errors
/// Where there is no store, a collector has it open, or it cannot be opened at all.
pub fn check(data_dir: &Path) -> Result<store::Checked, store::StoreError> {
    let folder = data_dir.join("profiles");
    if !folder.is_dir() {
        return Err(store::StoreError::Missing { folder });
    }
    let changed = store::EmbeddedStore::changed(&folder)?;
    if !changed.is_empty() {
        return Ok(store::Checked::of_files(changed));
    }
    store::EmbeddedStore::open(&folder, store::StoreLimits::default())?.check()
}

/// Serves until `shutdown` is ready.
///
/// # Errors
/// Names what cannot be had: the address, the directory, the store.
pub fn run(config: config::Config, shutdown: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
    Server::bind(config)?.run(shutdown)
}
