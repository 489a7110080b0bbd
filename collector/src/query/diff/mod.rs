//! The diff of two profiles: one call tree with the values of both, and every function's change with what chance explains of it.
//!
//! [`gather`] asks a store for both sides and for the [`Unit`]s that show how much hosts and times spread; [`Diff::of`] names all stacks once
//! and does the statistics of [`flamekeeper_profile::diff`]. Files have no units: then samples alone tell.

mod compute;
mod gather;
mod neighbours;
mod requests;
mod tree;

use std::num::NonZeroU64;

use flamekeeper_profile::diff::{Measure, Relative, Side, Statistics, Verdict};
use flamekeeper_profile::{Completeness, Frame};

use crate::query::Generics;
use crate::store::MergedProfile;

pub use gather::{Plan, gather, gather_whole};
pub use requests::{Counted, UncountedError, counted};
pub use tree::{DiffNode, DiffTree};

/// What values are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalization {
    /// Seconds of hosts: CPU cores that are used on each host.
    Cores,
    /// The side's own total.
    Share,
    /// Nothing: samples as they are.
    Samples,
    /// Requests that A and B served: what one request takes. The counts are taken as exact.
    Requests([NonZeroU64; 2]),
}

impl Normalization {
    /// The unit of values that were divided.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Cores => "cores",
            Self::Share => "share",
            Self::Samples => "samples",
            Self::Requests(_) => "request",
        }
    }

    /// The unit in a sentence, where weights are in `weight_unit`.
    pub(crate) fn unit_text(self, weight_unit: &str) -> String {
        match (self, weight_unit) {
            (Self::Requests(_), "nanoseconds") => "ms of CPU a request".to_owned(),
            (Self::Requests(_), other) => format!("{other} a request"),
            _ => self.unit().to_owned(),
        }
    }
}

/// What of a diff is made, beside the statistics.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The tree keeps this many nodes, the widest.
    pub nodes: usize,
    /// Whether generic functions are kept apart.
    pub generics: Generics,
    /// Only the tree, of stacks that begin with these names, root first. No function is compared then: a change is one of all stacks, not of
    /// those below a place. Empty for everything.
    pub path: Vec<String>,
}

/// One host in one chunk of a side's window.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    /// Its name.
    pub host: String,
    /// How long the host reported, in seconds.
    pub seconds: f64,
    /// Its stacks.
    pub merged: MergedProfile,
}

/// One side, not yet named.
#[derive(Clone, Debug, Default)]
pub struct SideProfile {
    /// Everything of the side.
    pub merged: MergedProfile,
    /// Seconds that hosts reported, over all hosts.
    pub host_seconds: f64,
    /// Seconds in which any of its hosts reported.
    pub seconds: f64,
    /// Hosts that have samples.
    pub hosts: usize,
    /// Whether these are files: what is said of hosts and times does not hold for them.
    pub files: bool,
    /// Parts that show the spread; not all of the side where there are many hosts.
    pub units: Vec<Unit>,
}

/// What is said of a side.
#[derive(Clone, Debug, Default)]
pub struct SideSummary {
    /// See [`SideProfile`].
    pub host_seconds: f64,
    /// See [`SideProfile`].
    pub hosts: usize,
    /// How many units show the spread.
    pub units: usize,
    /// Samples.
    pub samples: u64,
    /// Weight in the type's unit.
    pub weight: u64,
    /// The weight in the diff's unit.
    pub total: f64,
    /// How its requests are known; none where values are not by requests that were posted.
    pub requests: Option<Counted>,
    /// What is missing.
    pub completeness: Completeness,
}

/// A function on both sides. Values are in the diff's unit.
#[derive(Clone, Debug)]
pub struct FunctionDiff {
    /// Name, module and kind.
    pub frame: Frame,
    /// Of its own in A and B.
    pub own: [f64; 2],
    /// With what it calls, in A and B.
    pub total: [f64; 2],
    /// Which of the two the change is of.
    pub measure: Measure,
    /// The change.
    pub change: f64,
    /// Its 95 % confidence interval; none where the type counts no samples.
    pub interval: Option<(f64, f64)>,
    /// The same as a part of what it was in A, with the error of that too.
    pub relative: Option<Relative>,
    /// The adjusted p-value; none where there were too few samples.
    pub q: Option<f64>,
    /// What is said of it.
    pub verdict: Verdict,
    /// The name that it had in A, where that was another one or it stood in another module: then its values in A are those under that name.
    pub moved: Option<String>,
    /// The change that would be flagged 80 times of 100.
    pub seen: f64,
}

/// A diff, ready to be written.
#[derive(Clone, Debug)]
pub struct Diff {
    /// What values are divided by.
    pub normalization: Normalization,
    /// Unit of the weights in `tree`.
    pub unit: String,
    /// A and B.
    pub sides: [SideSummary; 2],
    /// The tree of both.
    pub tree: DiffTree,
    /// What changed beyond chance first: functions of which the self value did, by the size of the change, then those of which
    /// the total did, by how sure it is; then the others by total.
    pub functions: Vec<FunctionDiff>,
    /// What is said of the whole.
    pub statistics: Statistics,
    /// The change of a function as large as a twentieth of A that would be flagged 80 times of 100; none where there are no samples.
    pub smallest: Option<f64>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Diff {
    /// Whether values are nanoseconds that are told in milliseconds.
    pub(crate) fn in_milliseconds(&self) -> bool {
        matches!(self.normalization, Normalization::Requests(_)) && self.unit == "nanoseconds"
    }
}

/// The place of a side in pairs.
const fn place(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}
