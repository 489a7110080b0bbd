//! The upload of symbols: an agent offers what its host has, the collector says what it wants, and what is wanted is sent in
//! parts.
//!
//! An offer that is wanted comes with a lease: for as long as it holds, nobody else is asked for the same object. It lasts
//! [`LEASE_SECONDS`], begins anew with every part from the same agent, and outlives both programs' restart: an agent that
//! offers the same again is told where it stopped. What is sent is `flamekeeper_object::SymbolCopy` of the object and of its
//! companions on that host, which is the same bytes whenever it is made, so a place in it is all that has to be remembered. A part is compressed by itself.

use serde::{Deserialize, Serialize};

/// Path of offers, by `POST` of [`Offers`]; answered with [`OfferAnswer`].
pub const OFFERS_PATH: &str = "/api/v1/symbols/offers";
/// Path below which an object is uploaded as a whole by `PUT`: the build id's text form follows. See [`part_path`] too.
pub const UPLOAD_PATH: &str = "/api/v1/symbols/";
/// The most bytes of one part, decompressed.
pub const MAX_PART: usize = 512 << 10;
/// Seconds that a lease lasts from the last part that its agent sent.
pub const LEASE_SECONDS: u32 = 60;
/// Seconds after which what is wanted later may be offered again.
pub const LATER_SECONDS: u32 = 15;

/// Where the next part of a leased upload goes, by `PUT`: bytes of the copy from `offset`. A body of no bytes at the end asks
/// for the last answer again. Answers: 202 with [`PartAnswer`]; after the last part 204 (stored) or 200 (as good is there);
/// 409 with [`PartAnswer`] where another part is due; 410 where there is no such lease (any more).
#[must_use]
pub fn part_path(build_id: &str, lease: &str, offset: u64) -> String {
    format!("{UPLOAD_PATH}{build_id}/parts/{lease}/{offset}")
}

/// What symbols come from. Ordered: more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SymbolSource {
    /// `.dynsym`.
    DynamicSymbols,
    /// `.symtab`, or the part of it that `.gnu_debugdata` holds.
    SymbolTable,
    /// Debug information of which this host has a part only: split units, or the supplementary file of `dwz`, are not there.
    PartialDebugInfo,
    /// Go's own table.
    GoTable,
    /// Debug information, with all files that it goes on in.
    DebugInfo,
}

/// What an agent has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offers {
    /// The agent's id, as in its batches ([`crate::AgentId`]).
    pub agent: String,
    /// At most [`Offers::MAX`] of them.
    pub offers: Vec<Offer>,
}

impl Offers {
    /// The most offers in one request.
    pub const MAX: usize = 1000;
}

/// The best symbols that a host has for an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The build id's text form, `gnu:ab12`.
    pub build_id: String,
    /// What they come from.
    pub source: SymbolSource,
    /// Bytes of what would be sent, before it is compressed.
    pub bytes: u64,
}

/// The answer to [`Offers`]. What it does not name is not wanted, now or soon.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OfferAnswer {
    /// What is to be sent now.
    pub wanted: Vec<Wanted>,
    /// Build ids of what may be offered again after [`LATER_SECONDS`]: another host sends it, or there is much to do.
    pub later: Vec<String>,
}

/// An upload that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The build id.
    pub build_id: String,
    /// Names the lease in [`part_path`].
    pub lease: String,
    /// Bytes that the collector has: where the next part begins.
    pub received: u64,
}

/// The answer to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartAnswer {
    /// Bytes that the collector has: where the next part begins.
    pub received: u64,
}
