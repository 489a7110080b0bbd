//! The vocabulary of Flamekeeper: what a profile is, and how profiles are folded, merged and turned into a call tree.
//!
//! This crate is at the bottom of the tree: no I/O, no async, no `unsafe`. The agent fills a [`Batch`] with one
//! [`Series`] per process and sample type, `flamekeeper-wire` carries it, the collector stores it, and a query merges
//! many of them into a [`CallTree`].
//!
//! Stacks are **leaf first** everywhere but in folded text, which is root first.

#![forbid(unsafe_code)]

mod address;
mod batch;
mod build_id;
mod calltree;
mod caveat;
mod completeness;
pub mod diff;
mod figures;
mod folded;
mod frame;
pub mod growth;
mod intern;
mod labels;
pub mod leaks;
mod ledger;
pub mod memory;
mod merge;
pub mod requests;
mod sample_type;
mod stack;
pub mod subsecond;
mod tables;
mod time;

pub use address::{Avma, FileOffset, Svma};
pub use batch::{Batch, Series};
pub use build_id::{BuildId, BuildIdKind, ParseBuildIdError};
pub use calltree::{CallTree, CallTreeBuilder, FrameId, Node};
pub use caveat::Caveat;
pub use completeness::Completeness;
pub use figures::{AgentFigures, Figure};
pub use folded::{FoldedLine, ParseFoldedError, parse_folded, write_folded};
pub use frame::{Frame, FrameKind, UnnamedReason};
pub use intern::{Id, Table};
pub use labels::{Labels, label};
pub use ledger::{Ledger, LossReason};
pub use merge::{Merged, Value};
pub use sample_type::SampleType;
pub use stack::{Stack, StackEnd, StopReason};
pub use tables::{Line, Location, LocationId, Object, ObjectId, StackId, StringId, Tables, TablesRemap};
pub use time::{Timestamp, Window};
