//! The Flamekeeper agent: samples every process of the host, folds, and ships to a collector.

pub mod clock;
pub mod config;
pub mod engine;
mod fold;
pub mod identity;
mod kernel;
mod notify;
mod order;
mod perf;
mod process;
pub mod progress;
pub mod record;
pub mod service;
pub mod ship;
pub mod spool;
pub mod stop;
mod unwind;
pub mod upload;
