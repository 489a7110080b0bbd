//! The Flamekeeper agent: samples every process of the host, folds, and ships to a collector.

mod bpf;
pub mod budget;
pub mod clock;
pub mod config;
pub mod engine;
mod fold;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod heap;
pub mod identity;
pub mod jit;
pub mod jvm;
mod kernel;
mod memory;
pub mod metrics;
pub mod notify;
mod order;
mod perf;
pub mod permissions;
mod process;
pub mod program;
pub mod progress;
pub mod python;
pub mod record;
pub mod reload;
pub mod scrape;
pub mod service;
pub mod ship;
pub mod spool;
pub mod stop;
mod unwind;
pub mod upload;
pub mod watchdog;
