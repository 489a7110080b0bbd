//! pprof: a gzipped `profile.proto`, for `go tool pprof` and everything else that reads it.

mod build;

pub use flamekeeper_wire::pprof as proto;

use prost::Message as _;

use crate::query::SymbolizedProfile;

/// The profile as pprof's message, with mappings, build ids, functions and lines.
///
/// - Values are `samples`/`count` and the weight (`cpu`/`nanoseconds`); a type that counts no samples has its weight only.
/// - Addresses are those that the object states, so every mapping is said to span the whole address space from offset 0:
///   pprof then adds no base to an address.
/// - A location without a name has no line, and its mapping is not said to be symbolized: pprof may still name it.
/// - A stack that does not reach a root has the label `truncated` with the reason, since here a marker frame would count as
///   a function. (`go tool pprof -tags` shows them.)
/// - What is lost stands in the comments.
#[must_use]
pub fn message(profile: &SymbolizedProfile) -> proto::Profile {
    build::Builder::default().build(profile)
}

/// The message, encoded and compressed: the content of a `.pb.gz` file.
#[must_use]
pub fn gzipped(profile: &SymbolizedProfile) -> Vec<u8> {
    flamekeeper_wire::gzip::compress(&message(profile).encode_to_vec())
}
