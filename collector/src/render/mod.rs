//! What a profile is written as. All of this is pure: a [`crate::query::SymbolizedProfile`] in, bytes or text out.

mod completeness;
mod diff;
mod folded;
mod json;
pub mod pprof;
mod report;
mod svg;

pub use completeness::CompletenessJson;
pub use diff::{DiffSide, diff_json};
pub use folded::folded;
pub use json::{flamegraph_json, top_json};
pub use report::{Gate, GateResult, Outcome, Report, ReportFunction, ReportSide, Smallest, utc};
pub use svg::{SvgError, svg};

/// Nodes narrower than this share of the view are left out where nothing else is asked for: a third of a pixel on a wide
/// screen.
pub const DEFAULT_MIN_SHARE: f64 = 1.0 / 4000.0;
