//! Names for addresses: object files become symbol files, and an address in an object becomes frames.
//!
//! [`kernel`] and the types of an answer are always there and cheap. What reads debug information stands behind the feature
//! `convert`: `SymbolStore` for a collector, `LocalSymbols` for the objects of this host.

pub mod kernel;
mod symbolized;

pub use symbolized::{SymbolFrame, Symbolize, Symbolized};
