//! The Flamekeeper agent: samples every process of the host, folds, and ships to a collector.

pub mod clock;
pub mod config;
pub mod identity;
pub mod spool;
