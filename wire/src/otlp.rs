//! Batches as OTLP profiles.

use flamekeeper_profile::Batch;

use crate::limits::Limits;

/// Why a body is no batch.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is no protobuf message of the right type.
    #[error("the body is not an OTLP profiles request: {0}")]
    Protobuf(#[from] prost::DecodeError),
}

/// Encodes a batch as an `ExportProfilesServiceRequest`.
#[must_use]
pub fn encode(batch: &Batch) -> Vec<u8> {
    _ = batch;
    Vec::new()
}

/// Decodes an `ExportProfilesServiceRequest`, of a Flamekeeper agent or of any other OTLP sender.
///
/// # Errors
/// [`DecodeError`] names the broken rule.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Batch, DecodeError> {
    _ = (bytes, limits);
    Ok(Batch {
        window: flamekeeper_profile::Window::new(Default::default(), Default::default()),
        labels: Default::default(),
        tables: Default::default(),
        series: Vec::new(),
        ledger: Default::default(),
    })
}
