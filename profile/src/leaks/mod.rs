//! Which stack leaks: not by how its memory has grown, but by what becomes of its blocks when they are old.
//!
//! Growth alone tells little: a cache that warms, a queue, a service that starts grow too. A leak is a stack whose blocks reach old age and
//! then are not freed. So for each stack is counted, over all processes of a service and by classes of age ([`AgeClass`]):
//!
//! - `C`, the sampled blocks that *reached* an age `A`, and their bytes;
//! - `D`, those that were *freed* after it;
//! - `E`, the time that blocks *lived* beyond it, in block-seconds;
//! - `T`, the time that processes were observed that could have had such blocks, in process-seconds.
//!
//! From these follow a flow `F = C / T` into old age and a hazard `h = (D + 1/2) / E` of being freed there, and from both a forecast of
//! what old blocks there are, were each freed at a constant hazard: their number `n` follows `dn/dt = F - h n`, so that within the horizon `H` it
//! changes by `(F / h - n) (1 - exp(-h H))`, and levels off at `F / h`. (The formula of the project's prototype, which ranked the leak first
//! in 95 % of simulated processes, where slopes, differences of snapshots and "older than" did in less than a third.)
//!
//! # Invariants
//! - **All counts merge by addition**, over windows, processes and hosts; so no count depends on the window that is asked for. The
//!   age `A` is chosen when a question is asked ([`AgeClass::for_span`]): the sixth part of what was observed.
//! - **A block counts from the first look at its process's heap on**: what it did before is not known. One that was made and freed between
//!   two looks counts nowhere, one that was freed is taken to have died in the middle between them. What ended with its process was not
//!   freed: it counts in neither `D` nor, from then on, `E`.
//! - **Stalled growth is no leak.** What was all made at a service's start reaches old age in a burst. The flow is that of the whole
//!   window unless its later part has significantly less; then it is that of the later part. The hazard is the greatest of whole and later
//!   part, where any were freed in that: old blocks that a cache gives back once it is full, or a queue once it is drained, are not expected to stay.
//! - **An interval is stated with each number** ([`forecast`]), and fewer than [`FEWEST`] blocks are no verdict.

mod age;
mod blindness;
mod counts;
mod evidence;
mod forecast;
mod poisson;

pub use age::{AgeClass, Step, account};
pub use blindness::Blindness;
pub use counts::{Span, Survival, Survived};
pub use forecast::{FEWEST, Forecast, Verdict, forecast};
pub use poisson::limits;
