//! Deploys as the collector tells them.

use anyhow::Result;
use serde::Deserialize;

use crate::api::{Collector, Request};

/// Which deploys.
#[derive(Debug, clap::Args)]
pub(super) struct Span {
    #[command(flatten)]
    collector: Collector,
    /// Start of the window: -7d, 2026-11-24T14:00:00Z or unix seconds
    #[arg(long, value_name = "TIME", default_value = "-7d", allow_hyphen_values = true)]
    from: String,
    /// End of the window
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    to: String,
}

#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) deploys: Vec<Deploy>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Deploy {
    pub(super) service: String,
    pub(super) version: String,
    pub(super) previous: String,
    /// `deploy`, `rollback` or `mark`.
    pub(super) kind: String,
    pub(super) at: f64,
    pub(super) rolled_out: f64,
    pub(super) last: f64,
    pub(super) hosts: Vec<Host>,
    pub(super) overlaps: bool,
    pub(super) text: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Host {
    pub(super) host: String,
    pub(super) first: f64,
    pub(super) last: f64,
}

impl Span {
    /// The collector's answer as it is; an empty service is all.
    pub(super) fn ask(&self, service: &str) -> Result<Vec<u8>> {
        self.collector.send(Request::Get, "/api/v1/deploys", &[("service", service), ("from", &self.from), ("to", &self.to)])
    }

    /// From when to when, in words.
    pub(super) fn text(&self) -> String {
        format!("from {} to {}", self.from, self.to)
    }
}

/// How long, in the unit that gives it one to three digits.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Saturates; a length is told no more exactly than this.
pub(super) fn length(seconds: f64) -> String {
    match seconds.max(0.0) as u64 {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}
