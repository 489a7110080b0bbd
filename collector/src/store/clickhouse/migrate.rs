//! Making the schema, and knowing which one is there.

use super::client::{ClickHouseServer, Client, Query};
use super::error::{ClickHouseError, damaged};
use super::rowbinary::Reader;
use super::schema::{Place, VERSION};
use crate::store::{Retention, StoreError};

/// How long the tiers are kept, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ages {
    pub(super) raw: u64,
    pub(super) minute: u64,
    pub(super) hour: u64,
}

impl Ages {
    pub(super) const fn of(retention: &Retention) -> Self {
        let second = flamekeeper_profile::Timestamp::SECOND;
        Self { raw: retention.raw.div_ceil(second), minute: retention.minute.div_ceil(second), hour: retention.hour.div_ceil(second) }
    }

    /// Whether everything is kept as long.
    pub(super) const fn hold(&self, wanted: &Self) -> bool {
        self.raw >= wanted.raw && self.minute >= wanted.minute && self.hour >= wanted.hour
    }
}

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version that was there; none where there was no schema.
    pub from: Option<u32>,
    /// The version that is there now.
    pub to: u32,
    /// Whether anything was changed.
    pub changed: bool,
}

/// Makes the schema, or brings it up to date, and sets how long rows are kept. May be repeated, also after it was cut off.
///
/// # Errors
/// [`StoreError::Schema`] where the schema is of a later version, [`StoreError::Engine`] where the server refuses.
pub fn migrate(server: &ClickHouseServer, cluster: Option<&str>, retention: &Retention) -> Result<Migrated, StoreError> {
    let doing = "change its schema";
    let client = Client::new(server).map_err(|error| error.while_doing(doing))?;
    let ages = Ages::of(retention);
    let found = read(&client)?;
    let from = found.map(|(version, _)| version);
    match found {
        Some((version, _)) if version > VERSION => return Err(StoreError::Schema { found: Some(version), expected: VERSION }),
        Some((VERSION, kept)) if kept == ages => return Ok(Migrated { from, to: VERSION, changed: false }),
        _ => {}
    }
    let place = Place { database: &server.database, cluster };
    for statement in place.create(ages).into_iter().chain(place.keep(ages)) {
        client.execute(&statement).map_err(|error| error.while_doing(doing))?;
    }
    // Last, so that whatever is cut off before is done again.
    let Ages { raw, minute, hour } = ages;
    let row = format!(
        "INSERT INTO {}.versions (version, raw_age, minute_age, hour_age) VALUES ({VERSION}, {raw}, {minute}, {hour})",
        server.database
    );
    client.execute(&row).map_err(|error| error.while_doing(doing))?;
    Ok(Migrated { from, to: VERSION, changed: true })
}

/// The schema that is there; none where there is none.
pub(super) fn read(client: &Client) -> Result<Option<(u32, Ages)>, StoreError> {
    let text = format!(
        "SELECT version, raw_age, minute_age, hour_age FROM {}.versions ORDER BY migrated DESC LIMIT 1 FORMAT RowBinary",
        client.database()
    );
    let answer = match client.ask(&Query::new(text)) {
        Ok(answer) => answer,
        Err(error) if ClickHouseError::is_missing(&error) => return Ok(None),
        Err(error) => return Err(error.while_doing("read its schema's version")),
    };
    if answer.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader::new(&answer);
    let mut row = || Ok((reader.u32()?, Ages { raw: reader.u64()?, minute: reader.u64()?, hour: reader.u64()? }));
    row().map(Some).map_err(damaged("its schema"))
}
