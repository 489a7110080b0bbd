//! The collector: ingest, store, query, render, and the web page.

mod assets;
mod clock;
pub mod config;
pub mod http;
pub mod ingest;
pub mod query;
pub mod render;
pub mod selector;
mod server;
pub mod store;

use std::future::Future;

pub use server::Server;

/// Serves until `shutdown` is ready.
///
/// # Errors
/// Names what cannot be had: the address, the directory, the store.
pub fn run(config: config::Config, shutdown: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
    Server::bind(config)?.run(shutdown)
}
