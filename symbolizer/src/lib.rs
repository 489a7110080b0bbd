//! Names for addresses: object files become symbol files, and an address in an object becomes frames.
//!
//! [`kernel`] and the types of an answer are always there and cheap. What reads debug information stands behind the feature
//! `convert`: `SymbolStore` for a collector, `LocalSymbols` for the objects of this host.

#[cfg(feature = "convert")]
pub mod child;
#[cfg(feature = "convert")]
mod convert;
#[cfg(feature = "fuzz")]
pub mod fuzz;
#[cfg(feature = "convert")]
mod interner;
pub mod kernel;
#[cfg(feature = "convert")]
mod local;
#[cfg(feature = "convert")]
mod store;
#[cfg(feature = "convert")]
mod symbol_file;
mod symbolized;

#[cfg(feature = "convert")]
pub use convert::demangle::readable;
#[cfg(feature = "convert")]
pub use convert::{ConvertError, Converter, Sources};
pub use flamekeeper_object::SymbolsPresent;
#[cfg(feature = "convert")]
pub use local::LocalSymbols;
#[cfg(feature = "convert")]
pub use store::{
    AddError, Added, Addition, Conversion, FailureReason, Held, OpenStoreError, StoreOptions, StoredObject, StoredState, SymbolLimits,
    SymbolStatus, SymbolStore,
};
#[cfg(feature = "convert")]
pub use symbol_file::{BadSymbolFile, SymbolFile};
pub use symbolized::{SymbolFrame, Symbolize, Symbolized};
