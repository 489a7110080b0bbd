//! Go's own tables: what a Go program knows of its functions, whether or not it was stripped.
//!
//! Every Go program carries the table that its runtime unwinds and prints stacks with (`pclntab`): for each function a
//! name, and for each instruction the file, the line and how far the stack pointer is from where the caller left it. The
//! linker's `-s -w` leaves it, since the program could not run without it. So it serves both sides: the agent unwinds by
//! [`StackMap`], and the symbolizer names by [`Functions`].
//!
//! | magic | written by | what changed |
//! |---|---|---|
//! | `0xfffffffb` | Go 1.2 to 1.15 | |
//! | `0xfffffffa` | Go 1.16, 1.17 | names, files, programs and functions lie in parts of their own; files by compilation unit |
//! | `0xfffffff0` | Go 1.18, 1.19 | addresses are offsets from the start of the text, which the header states |
//! | `0xfffffff1` | Go 1.20 on | the line that a function begins at; another form of inlining trees |
//!
//! From Go 1.26 on the header's start of the text is zero and only the runtime's `moduledata` has it. Sources: the Go
//! source tree, `runtime/symtab.go` and `runtime/runtime2.go`, `cmd/link/internal/ld/pcln.go`, and the design note
//! "Go 1.2 Runtime Symbol Information".
//!
//! All readers are pure, take any bytes and are bounded by them.

mod find;
mod functions;
mod inline;
mod layout;
mod module;
mod pc_values;
mod stack_map;
mod window;

pub use find::GoBytes;
pub(crate) use find::{GoTable, PART_INLINE, PART_TABLE, Place};
pub use functions::{Function, Functions, Range};
pub use inline::Call;
pub use stack_map::{StackMap, StackRule};
