//! Fuzz targets: every parser of bytes that a profiled process, a file of somebody else's or the network chose.
//!
//! A target is a function of bytes. It must return: whatever the bytes are, it must not panic, not hang, and not take more
//! memory than a small multiple of them; where there is more to hold (a ledger that adds up, an encoding that can be read
//! back), the target asserts it.
//!
//! The same functions are called in two ways:
//! - by libFuzzer, guided by coverage: `./dev fuzz TARGET [SECONDS]`, on the stable compiler;
//! - by an ordinary test (`tests/replay.rs`), which replays the corpus in `fuzz/corpus/TARGET` and some thousand mutations
//!   of it, always the same ones.

#![forbid(unsafe_code)]

mod mutate;
mod targets;

pub use mutate::Mutator;
pub use targets::{TARGETS, Target, find};
