//! From merged stacks to what is shown: names, call tree, functions.
//!
//! [`Profile::symbolize`] is the entry, for the collector's queries and for `flamekeeper record` alike: merged stacks go
//! in, a [`SymbolizedProfile`] comes out, and [`crate::render`] writes it as JSON, SVG, folded text or pprof. Nothing here
//! does I/O but the [`flamekeeper_symbolizer::Symbolize`] that is handed in.

pub mod diff;
pub mod heatmap;
mod names;
mod profile;
mod prune;
mod symbolize;
pub mod time;
mod top;

pub use names::{Generics, Names};
pub use profile::{Profile, SymbolizedProfile};
pub use prune::{PrunedNode, PrunedTree};
pub use top::Function;
