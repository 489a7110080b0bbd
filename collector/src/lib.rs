//! The collector: ingest, store, query, render, and the web page.

pub mod selector;
pub mod store;
