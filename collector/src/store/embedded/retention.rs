//! Deleting what is too old, and the oldest where there is too much: whole slots, with their dictionaries.
//!
//! 1. A raw slot goes only when nothing in it is marked: until then the derived tiers lack its rows.
//! 2. Floors are raised before anything is deleted, durably, so that no answer takes a part for the whole.
//! 3. Dictionaries go with the last tier that refers to them: with the hours.

use flamekeeper_profile::{Timestamp, Window};

use super::append::Writer;
use super::engine;
use super::keyspaces::Keyspaces;
use super::room::Room;
use super::tier::{Floors, Kind, Slot, Width};
use crate::store::StoreError;

/// How much is kept. Ages count from the start of a window, in nanoseconds, and end with whole slots: a tier keeps up to a
/// slot (3 h, 1 day, 7 days) more than its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long rows per process and window are kept.
    pub raw: u64,
    /// How long rows per minute are kept; never shorter than [`Self::raw`].
    pub minute: u64,
    /// How long rows per hour are kept; never shorter than [`Self::minute`].
    pub hour: u64,
    /// Above this many bytes on disk the oldest slot of the tier that is furthest above its share is deleted, one a pass.
    pub bytes: u64,
}

/// What a pass deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Slots of time that were deleted, of all tiers.
    pub slots: usize,
    /// From when on raw rows are there.
    pub raw_from: Timestamp,
    /// From when on rows per minute are there.
    pub minute_from: Timestamp,
    /// From when on anything is there.
    pub hour_from: Timestamp,
    /// Whether size and not age decided.
    pub by_size: bool,
    /// Whether there is too much or too little room, and nothing old was left to delete: batches are sent away.
    pub full: bool,
}

/// The shares of the limit in bytes, in hundredths: hours with the dictionaries, minutes, raw rows. Of two that are equally far
/// above theirs, the later one gives.
const SHARES: [(Kind, u64); 3] = [(Kind::Hour, 20), (Kind::Minute, 20), (Kind::Raw, 60)];

/// Deletes what `retention` does not keep. The writer is locked by the caller: nothing is appended meanwhile.
pub(super) fn retain(
    keyspaces: &Keyspaces,
    writer: &mut Writer,
    room: &Room,
    retention: &Retention,
    now: Timestamp,
) -> Result<Retained, StoreError> {
    let mut floors = keyspaces.floors();
    let floor = |kind: Kind, age: u64| Slot::of(kind, now.saturating_sub(age)).window().from;
    floors.raise(&Floors {
        raw: floor(Kind::Raw, retention.raw),
        minute: floor(Kind::Minute, retention.minute),
        hour: floor(Kind::Hour, retention.hour),
    });
    let bytes = keyspaces.database.disk_space().map_err(engine("measure its size"))?;
    let much = bytes > retention.bytes || room.is_short();
    let more = if much { oldest_of_the_largest(keyspaces, &floors, now) } else { None };
    let by_size = more.is_some();
    room.set_over(bytes > retention.bytes && !by_size);
    more.iter().for_each(|more| floors.raise(more));
    let mut write = keyspaces.database.batch();
    // What is below the last floor will be in no tier any more.
    writer.markers.retain(|key, _| {
        let kept = key.bucket >= floors.hour;
        if !kept {
            write.remove(&keyspaces.dirty, key.encode());
        }
        kept
    });
    let known_from = now.saturating_sub(retention.raw);
    let gone: Vec<Slot> = keyspaces.slots().keys().copied().filter(|slot| is_gone(*slot, &floors, known_from, writer)).collect();
    if !gone.is_empty() || floors != keyspaces.floors() {
        writer.interners.reset();
        keyspaces.delete(write, &floors, &gone)?;
    }
    Ok(Retained {
        slots: gone.len(),
        raw_from: floors.raw,
        minute_from: floors.minute,
        hour_from: floors.hour,
        by_size,
        full: much && !by_size,
    })
}

/// Whether a slot is needed no more.
fn is_gone(slot: Slot, floors: &Floors, known_from: Timestamp, writer: &Writer) -> bool {
    let window = slot.window();
    match slot.kind {
        // One that could be sent again must be known, whatever the size.
        Kind::Batches => window.to <= known_from,
        Kind::Raw => window.to <= floors.raw && !is_marked(writer, window),
        Kind::Minute | Kind::Hour | Kind::Words => window.to <= floors.of(slot.kind),
    }
}

/// Whether a bucket that lies in a window lacks something.
fn is_marked(writer: &Writer, window: Window) -> bool {
    [Width::Minute, Width::Hour].into_iter().any(|width| {
        let bucket = |at| super::dirty::DirtyKey { width, bucket: at, subject: super::dirty::Subject::Rows { service: 0, sample_type: 0 } };
        writer.markers.range(bucket(window.from)..bucket(window.to)).next().is_some()
    })
}

/// The floors without the oldest slot of the tier that is furthest above its share; the slot that is written now stays.
fn oldest_of_the_largest(keyspaces: &Keyspaces, floors: &Floors, now: Timestamp) -> Option<Floors> {
    let slots = keyspaces.slots();
    let bytes = |kind: Kind| -> u64 {
        let of_tier = |slot: Kind| slot == kind || kind == Kind::Hour && slot == Kind::Words;
        slots.iter().filter(|(slot, _)| of_tier(slot.kind)).map(|(_, keyspace)| keyspace.disk_space()).sum()
    };
    let oldest = |kind: Kind| {
        let kept = |slot: &&Slot| slot.kind == kind && slot.window().to > floors.of(kind) && slot.window().to <= now;
        slots.keys().find(kept).copied()
    };
    let candidates = SHARES.into_iter().filter_map(|(kind, share)| Some((bytes(kind).saturating_mul(100) / share, oldest(kind)?)));
    let (_, slot) = candidates.max_by_key(|(times, _)| *times)?;
    let to = slot.window().to;
    Some(match slot.kind {
        Kind::Raw => Floors { raw: to, ..*floors },
        Kind::Minute => Floors { minute: to, ..*floors },
        Kind::Hour | Kind::Words | Kind::Batches => Floors { hour: to, ..*floors },
    })
}
