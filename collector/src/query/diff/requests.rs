//! How many requests a side served, by what was posted.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use flamekeeper_profile::diff::Side;
use flamekeeper_profile::label;
use flamekeeper_profile::requests::Requests;
use serde::{Deserialize, Serialize};

use super::{Diff, Plan, SideProfile, place};
use crate::store::{Selection, Store, StoreError};

/// The least part of a side's time that has to be counted.
const LEAST: f64 = 0.5;
/// Counts of so much more than a side's time are more than one count of it; below, its edges lie within counts.
const WHOLE: f64 = 1.1;

/// How many requests a side served, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// In all of the side's time: what was posted, as far as it goes, and as many again in the time that is not counted.
    pub count: NonZeroU64,
    /// What was posted.
    pub posted: u64,
    /// The part of the side's time that was counted; above 1 where several counts are of the same time.
    pub covered: f64,
    /// Hosts that the counts name; 0 where they are of all hosts together.
    pub hosts: usize,
    /// Whether the counts name no version, while the side is one.
    pub any_version: bool,
}

/// Why it is not known how many requests a side served.
#[derive(Debug, thiserror::Error)]
pub enum UncountedError {
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody posted any.
    #[error(
        "no requests were posted for {side} ({query}): post what was served (POST /api/v1/requests, `flamekeeper requests post`), or give the counts by requests_a and requests_b"
    )]
    Nothing {
        /// `A` or `B`.
        side: &'static str,
        /// Its selector.
        query: String,
    },
    /// They are of too little of the time.
    #[error(
        "requests were posted for {percent:.0} % of the time of {side} only ({query}): post the rest, choose another window, or give the counts by requests_a and requests_b"
    )]
    TooLittle {
        /// `A` or `B`.
        side: &'static str,
        /// Its selector.
        query: String,
        /// How much is counted.
        percent: f64,
    },
    /// They are of other versions too.
    #[error(
        "the requests that were posted for {side} ({query}) name no version, and are of a longer time than this version ran: post them with their version, or give the counts by requests_a and requests_b"
    )]
    OtherVersions {
        /// `A` or `B`.
        side: &'static str,
        /// Its selector.
        query: String,
    },
    /// There were none.
    #[error("no request was served in {side} ({query}), by what was posted: nothing can be told of one")]
    Zero {
        /// `A` or `B`.
        side: &'static str,
        /// Its selector.
        query: String,
    },
}

/// What was posted, by host; the empty name is all hosts together.
#[derive(Debug, Default)]
struct Posted {
    served: BTreeMap<String, u64>,
    /// Nanoseconds.
    counted: BTreeMap<String, u64>,
}

impl Posted {
    fn of(store: &dyn Store, selection: &Selection) -> Result<Self, StoreError> {
        let by_hour = selection.window.from < store.status()?.raw_from;
        let step = Plan::of(selection.window, 1, by_hour).step;
        let sums = |of: Requests| -> Result<BTreeMap<String, u64>, StoreError> {
            let asked = Selection { profile_type: of.as_str().to_owned(), ..selection.clone() };
            let found = store.time_series(&asked, label::HOST, step)?.by_value.into_iter();
            Ok(found.map(|(host, values)| (host, values.into_iter().fold(0, u64::saturating_add))).collect())
        };
        let counted = sums(Requests::Counted)?;
        // Where no time was counted nothing is.
        let served = if counted.is_empty() { BTreeMap::new() } else { sums(Requests::Served)? };
        Ok(Self { served, counted })
    }
}

/// How many requests a side served. Counts without a host are taken first, unless the side is about hosts: then, and where there are none, those of
/// its hosts. Where none names the side's version, those that name no version stand for it.
///
/// # Errors
/// [`UncountedError`].
#[allow(clippy::cast_precision_loss)] // A part of a time needs no 16 digits.
pub fn counted(store: &dyn Store, selection: &Selection, profile: &SideProfile, side: Side) -> Result<Counted, UncountedError> {
    let (side, query) = (name(side), selection.selector.to_string());
    let about = |name: &str| selection.selector.labels().any(|label| label == name);
    let mut posted = Posted::of(store, selection)?;
    let any_version = posted.counted.is_empty() && about(label::VERSION);
    if any_version {
        let selector = selection.selector.clone().without(label::VERSION).with_equal(label::VERSION, "");
        posted = Posted::of(store, &Selection { selector, ..selection.clone() })?;
    }
    if posted.counted.is_empty() {
        return Err(UncountedError::Nothing { side, query });
    }
    let together = !about(label::HOST) && posted.counted.contains_key("");
    let is_taken = |host: &&String| host.is_empty() == together;
    let sum = |values: &BTreeMap<String, u64>| {
        values.iter().filter(|(host, _)| is_taken(host)).fold(0_u64, |sum, (_, value)| sum.saturating_add(*value))
    };
    let (served, time) = (sum(&posted.served), sum(&posted.counted) as f64 / 1e9);
    let hosts = if together { 0 } else { posted.counted.keys().filter(is_taken).count() };
    let there = if together { profile.seconds } else { profile.host_seconds };
    let covered = if there > 0.0 { time / there } else { 0.0 };
    if covered < LEAST {
        return Err(UncountedError::TooLittle { side, query, percent: covered * 100.0 });
    }
    if any_version && covered > WHOLE {
        return Err(UncountedError::OtherVersions { side, query });
    }
    let count = if covered > WHOLE { served } else { rounded(served as f64 / covered) };
    let count = NonZeroU64::new(count).ok_or(UncountedError::Zero { side, query })?;
    Ok(Counted { count, posted: served, covered, hosts, any_version })
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Not negative, and twice what was posted at most; `as` saturates.
fn rounded(count: f64) -> u64 {
    count.round() as u64
}

const fn name(side: Side) -> &'static str {
    match side {
        Side::A => "A",
        Side::B => "B",
    }
}

impl Diff {
    /// Says of both sides how their requests are known.
    pub fn tell_counted(&mut self, counted: [Counted; 2]) {
        for side in Side::BOTH {
            let of = counted[place(side)];
            self.sides[place(side)].requests = Some(of);
            self.notes.push(of.text(name(side)));
        }
    }
}

impl Counted {
    fn text(&self, side: &str) -> String {
        let Self { count, posted, covered, hosts, any_version } = *self;
        let by = match hosts {
            0 => String::new(),
            1 => " by one host".to_owned(),
            hosts => format!(" by {hosts} hosts"),
        };
        let version = if any_version { ", without a version," } else { "" };
        let told = format!("{side}: {posted} requests were posted{version} for {:.0} % of its time{by}", covered * 100.0);
        if covered > WHOLE {
            format!("{told}; counts of the same time were taken as parts of it.")
        } else if count.get() == posted {
            format!("{told}.")
        } else {
            format!("{told}: at that rate {count} in all of it.")
        }
    }
}
