//! The contract between agent and collector: OTLP profiles, batch identity, limits.

mod batch_id;
mod check;
pub mod gzip;
mod limits;
pub mod lz4;
pub mod otlp;
pub mod pprof;
pub mod resource;
pub mod symbols;
pub mod units;

pub use batch_id::{AgentId, BatchId, ParseBatchIdError};
pub use check::BatchCheck;
pub use limits::Limits;
pub use otlp::{DecodeError, decode, encode};

/// Path of the ingest endpoint, on the collector's base address.
pub const PROFILES_PATH: &str = "/v1development/profiles";
/// Request header that carries a [`BatchId`].
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Request header that carries a [`BatchCheck`].
pub const BATCH_CHECK: &str = "flamekeeper-check";
/// Response header that says what became of a batch: `accepted` or `duplicate`.
pub const BATCH_OUTCOME: &str = "flamekeeper-batch";
/// Header of the answers to agents: which collector this is, as one of another data directory is another. See [`symbols`].
pub const COLLECTOR_ID: &str = "flamekeeper-collector";
