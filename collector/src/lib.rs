//! The collector: ingest, store, query, render, and the web page.

pub mod http;
pub mod query;
pub mod render;
pub mod selector;
pub mod store;
