//! Which tiers answer a window: the coarsest in its middle, finer ones at its edges.
//!
//! What the plan rests on, for one service and type (or for the ledgers):
//!
//! 1. A stored window belongs to the bucket of each width that its start lies in, and to a question when its start does.
//! 2. A *clean* bucket (one without a marker) holds the sum of all raw rows that ever were stored for it.
//! 3. A *dirty* bucket, marked with ordinal `n`, holds the sum of those of batches before `n`; the others are still in the raw
//!    tier, whatever the raw tier's floor says.
//! 4. From its floor on, a tier holds everything ([`Floors`]).
//!
//! So the spans of a plan together count each raw row whose start lies in the window exactly once. Where the window's edge
//! lies in a time whose finer tiers were deleted, the bucket counts whose start lies in the window: the finest stored windows
//! are then those buckets.

use std::collections::BTreeMap;

use flamekeeper_profile::{Timestamp, Window};

use super::tier::{Floors, Width};

/// Where a span is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Source {
    /// Raw rows.
    Raw,
    /// What buckets of a width lack: raw rows of batches from an ordinal on, each at the start of its bucket.
    Lacking {
        /// The width.
        width: Width,
        /// The first ordinal.
        since: u64,
    },
    /// Buckets of a width.
    Tier(Width),
}

/// A part of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Span {
    pub(in crate::store) window: Window,
    pub(in crate::store) source: Source,
}

/// Marked buckets by their start, with the ordinal of the first batch that they lack.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Dirty {
    pub(in crate::store) minutes: BTreeMap<u64, u64>,
    pub(in crate::store) hours: BTreeMap<u64, u64>,
}

/// The levels that may answer, coarsest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Hour,
    Minute,
    Raw,
}

/// The spans that answer windows, each by itself; `minutes` says whether the tier of minutes can. The windows ascend.
pub(in crate::store) fn plan(windows: impl IntoIterator<Item = Window>, floors: &Floors, minutes: bool, dirty: &Dirty) -> Vec<Span> {
    let mut plan = Plan { dirty, spans: Vec::new() };
    for window in windows {
        let part = |from: Timestamp, to: Timestamp| Window::new(window.from.max(from), window.to.min(to));
        if minutes {
            plan.cover(part(floors.hour, floors.minute), &[Level::Hour]);
            plan.cover(part(floors.minute, floors.raw), &[Level::Hour, Level::Minute]);
            plan.cover(part(floors.raw, window.to), &[Level::Hour, Level::Minute, Level::Raw]);
        } else {
            plan.cover(part(floors.hour, floors.raw), &[Level::Hour]);
            plan.cover(part(floors.raw, window.to), &[Level::Hour, Level::Raw]);
        }
    }
    plan.spans
}

struct Plan<'a> {
    dirty: &'a Dirty,
    spans: Vec<Span>,
}

impl Plan<'_> {
    /// Covers a window by the coarsest of `levels` where it fits, and by the others around it.
    fn cover(&mut self, window: Window, levels: &[Level]) {
        if window.duration() == 0 {
            return;
        }
        let Some((level, finer)) = levels.split_first() else { return };
        let width = match level {
            Level::Hour => Width::Hour,
            Level::Minute => Width::Minute,
            Level::Raw => return self.push(window, Source::Raw),
        };
        let (first, last) = (align_up(window.from, width), width.bucket(window.to));
        if finer.is_empty() {
            self.whole(Window::new(first, align_up(window.to, width)), width, finer);
        } else if first >= last {
            self.cover(window, finer);
        } else {
            self.cover(Window::new(window.from, first), finer);
            self.whole(Window::new(first, last), width, finer);
            self.cover(Window::new(last, window.to), finer);
        }
    }

    /// Covers whole buckets: clean ones by themselves, marked ones by the finer levels, or where there are none, by
    /// themselves and what they lack.
    fn whole(&mut self, window: Window, width: Width, finer: &[Level]) {
        if window.duration() == 0 {
            return;
        }
        let dirty = match width {
            Width::Minute => &self.dirty.minutes,
            Width::Hour => &self.dirty.hours,
        };
        let mut at = window.from;
        for (start, since) in dirty.range(window.from.0..window.to.0) {
            let bucket = Window::new(Timestamp(*start), Timestamp(start.saturating_add(width.length())));
            self.push(Window::new(at, bucket.from), Source::Tier(width));
            at = bucket.to;
            if finer.is_empty() {
                self.push(bucket, Source::Tier(width));
                self.push(bucket, Source::Lacking { width, since: *since });
            } else {
                self.cover(bucket, finer);
            }
        }
        self.push(Window::new(at, window.to), Source::Tier(width));
    }

    /// Adds a span, to the last one where that ends there.
    fn push(&mut self, window: Window, source: Source) {
        match self.spans.last_mut() {
            _ if window.duration() == 0 => {}
            Some(last) if last.source == source && last.window.to == window.from => last.window.to = window.to,
            _ => self.spans.push(Span { window, source }),
        }
    }
}

fn align_up(at: Timestamp, width: Width) -> Timestamp {
    let down = width.bucket(at);
    if down == at { at } else { down.saturating_add(width.length()) }
}

#[cfg(test)]
mod tests {
    use super::super::tier::{HOUR, MINUTE};
    use super::*;

    fn window(from: u64, to: u64) -> Window {
        Window::new(Timestamp(from), Timestamp(to))
    }

    fn span(from: u64, to: u64, source: Source) -> Span {
        Span { window: window(from, to), source }
    }

    const RAW: Source = Source::Raw;
    const MINUTES: Source = Source::Tier(Width::Minute);
    const HOURS: Source = Source::Tier(Width::Hour);

    /// Raw at the edges, minutes next to them, hours in the middle; a marked hour by its minutes, a marked minute raw.
    #[test]
    fn coarse_in_the_middle() {
        let asked = window(HOUR - 61 * (MINUTE / 60), 4 * HOUR + 5);
        let clean = Dirty::default();
        let floors = Floors::default();
        let second = MINUTE / 60;
        assert_eq!(
            plan([asked], &floors, true, &clean),
            [
                span(HOUR - 61 * second, HOUR - MINUTE, RAW),
                span(HOUR - MINUTE, HOUR, MINUTES),
                span(HOUR, 4 * HOUR, HOURS),
                span(4 * HOUR, 4 * HOUR + 5, RAW)
            ]
        );
        assert_eq!(
            plan([asked], &floors, false, &clean),
            [span(HOUR - 61 * second, HOUR, RAW), span(HOUR, 4 * HOUR, HOURS), span(4 * HOUR, 4 * HOUR + 5, RAW)]
        );
        let dirty = Dirty { hours: [(2 * HOUR, 7)].into(), minutes: [(2 * HOUR + MINUTE, 8)].into() };
        assert_eq!(
            plan([window(HOUR, 4 * HOUR)], &floors, true, &dirty),
            [
                span(HOUR, 2 * HOUR, HOURS),
                span(2 * HOUR, 2 * HOUR + MINUTE, MINUTES),
                span(2 * HOUR + MINUTE, 2 * HOUR + 2 * MINUTE, RAW),
                span(2 * HOUR + 2 * MINUTE, 3 * HOUR, MINUTES),
                span(3 * HOUR, 4 * HOUR, HOURS),
            ]
        );
        assert_eq!(plan([window(5, 5)], &floors, true, &dirty), []);
        assert_eq!(plan([window(9, 5)], &floors, true, &dirty), []);
    }

    /// Below a floor the edges are whole buckets, and a marked bucket stands with what it lacks.
    #[test]
    fn below_the_floors() {
        let floors = Floors { raw: Timestamp(20 * HOUR), minute: Timestamp(10 * HOUR), hour: Timestamp(HOUR) };
        let dirty = Dirty { hours: [(3 * HOUR, 7), (12 * HOUR, 8)].into(), minutes: [(12 * HOUR + MINUTE, 9)].into() };
        assert_eq!(
            plan([window(0, 4 * HOUR - 1)], &floors, true, &dirty),
            [span(HOUR, 4 * HOUR, HOURS), span(3 * HOUR, 4 * HOUR, Source::Lacking { width: Width::Hour, since: 7 })]
        );
        assert_eq!(
            plan([window(12 * HOUR + 1, 12 * HOUR + MINUTE + 1)], &floors, true, &dirty),
            [
                span(12 * HOUR + MINUTE, 12 * HOUR + 2 * MINUTE, MINUTES),
                span(12 * HOUR + MINUTE, 12 * HOUR + 2 * MINUTE, Source::Lacking { width: Width::Minute, since: 9 })
            ]
        );
        assert_eq!(plan([window(12 * HOUR + 1, 12 * HOUR + 2)], &floors, false, &dirty), []);
        assert_eq!(plan([window(19 * HOUR, 21 * HOUR)], &floors, false, &dirty), [span(19 * HOUR, 21 * HOUR, HOURS)]);
    }

    /// A window without end is a plan of few spans.
    #[test]
    fn everything_is_few_spans() {
        let spans = plan([window(0, u64::MAX)], &Floors::default(), true, &Dirty::default());
        assert!(spans.len() <= 3, "{spans:?}");
    }
}
