//! Totals since the store was made, written with every batch.

use flamekeeper_profile::Ledger;

use super::codec::{Reader, put};
use super::corrupt;
use super::records::{put_ledger, read_ledger};
use crate::store::StoreError;

/// Counts of what was ever stored; retention does not lower them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) batches: u64,
    pub(super) samples: u64,
    pub(super) ledger: Ledger,
}

impl Totals {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.batches);
        put(&mut out, self.samples);
        put_ledger(&mut out, &self.ledger);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut reader = Reader::new(bytes);
        let mut read = || Ok(Self { batches: reader.number()?, samples: reader.number()?, ledger: read_ledger(&mut reader)? });
        read().map_err(corrupt("totals"))
    }
}
