//! What changed between two profiles, and what chance explains.
//!
//! Profiles are samples, and hosts differ: a count that doubled may mean nothing. So every change comes with a 95 % confidence
//! interval, and the tests of all functions of a diff hold the false discovery rate together.
//!
//! - The unit of replication is a host in a chunk of the window ([`Cell`]). How much more counts spread than samples alone would
//!   ([`dispersion`]) is estimated from the spread between cells, and never taken to be less than a Poisson process has.
//! - The difference of two rates has an interval by Student's t ([`estimate`]), and a p-value that is the greater one of that and of a
//!   binomial test, which is right for small counts too.
//! - The false discovery rate is held by Benjamini and Hochberg's procedure (`fdr`) over all functions (`functions`).
//!
//! All is pure arithmetic on counts; who fills them is the collector's `query::diff`.

mod dispersion;
mod distribution;
mod estimate;
mod fdr;
mod functions;
mod matching;

pub use dispersion::{Dispersion, dispersion};
pub use distribution::{beta_regularized, student_quantile, student_tail};
pub use estimate::{Estimate, Exposures, Quantiles, Relative, SideCounts, estimate};
pub use fdr::adjusted;
pub use functions::{Change, FunctionCounts, Measure, Statistics, Verdict, changes};
pub use matching::{Candidate, moved};

/// One of the two profiles of a diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// What is compared with: before.
    A,
    /// What is looked at: after.
    B,
}

/// A unit of replication: one host in one chunk of one side's window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Of which profile.
    pub side: Side,
    /// Number of the host; the same host has the same number on both sides.
    pub host: u32,
    /// What counts are divided by: host-seconds, or samples where shares are compared.
    pub exposure: f64,
}
