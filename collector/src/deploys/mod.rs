//! Deploys: changes of a service's version, found in the labels of its series, and marks that somebody set.
//!
//! [`find`] is a function of [`Sighting`]s (which version ran on which host when); [`sightings`] reads them from a store, an hour at a time
//! where the window is long, so that a month is read from the tier of hours. [`choose`] finds windows before and after a deploy that can be
//! compared. [`Marks`] keeps what was posted.

mod choose;
mod find;
mod marks;
mod sightings;

pub use choose::{Choice, choose};
pub use find::{Deploy, DeployKind, HostSpan, find};
pub use marks::{Mark, Marks, MarksError};
pub use sightings::{Sighting, sightings};
