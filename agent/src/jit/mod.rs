//! Names of generated code: what runtimes write into perf maps and jitdumps, read beside the sampling thread.
//!
//! ```text
//! sampling thread: Names of a process --request--> thread "fk-jit": opens, reads, parses (source, reader)
//!        ^---- Book: immutable pages of names ----'
//! ```
//! The sampling thread touches no file: it asks for names when it meets generated code, and takes up what has been
//! published since, which costs one atomic load when there is nothing new. A frame that was sampled before its name was
//! read is named at the window's edge (`engine::frames`).
//!
//! Bounds: `thread` reads within one budget of bytes a second for all processes, and keeps names within one budget of
//! memory for all of them; both are counted when they cut something off.

pub(crate) mod book;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
pub mod jitdump;
pub(crate) mod names;
pub mod perf_map;
mod reader;
pub(crate) mod source;
#[cfg(test)]
mod tests;
pub(crate) mod thread;
