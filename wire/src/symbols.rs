//! The upload of symbols: which build ids the collector lacks, and where to send them.

use serde::{Deserialize, Serialize};

/// Path to ask which build ids are missing, by `POST`.
pub const MISSING_PATH: &str = "/api/v1/symbols/missing";
/// Path below which an object is uploaded by `PUT`: the build id's text form follows.
pub const UPLOAD_PATH: &str = "/api/v1/symbols/";

/// Asks which of these build ids (text form, `gnu:ab12`) the collector wants symbols for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissingRequest {
    /// At most [`MissingRequest::MAX`] of them.
    pub build_ids: Vec<String>,
}

impl MissingRequest {
    /// The most build ids in one request.
    pub const MAX: usize = 1000;
}

/// The answer: those for which an upload is welcome.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MissingResponse {
    /// A subset of what was asked.
    pub missing: Vec<String>,
}
