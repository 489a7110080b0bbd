//! What agents counted of one version, in parts of a window.

use std::collections::HashMap;

use flamekeeper_profile::leaks::{AgeClass, Span, Survival, Survived};
use flamekeeper_profile::{StackId, Tables, Timestamp, Window, label};
use foldhash::fast::RandomState;

use crate::selector::Selector;
use crate::store::{Selection, Store, StoreError};

/// Equal parts of the window that are counted apart: growth that stalled, or came in a burst, shows in them.
const PARTS: u64 = 6;
/// Steps in which the first and the last sign of a process are looked for.
const STEPS: u64 = 360;

/// Counts of one version.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// The age that counts as old.
    pub(super) age: Option<AgeClass>,
    /// What was observed in each part.
    pub(super) spans: Vec<Span>,
    /// Of each stack, beyond that age, in each part.
    pub(super) parts: HashMap<StackId, Vec<Survival>, RandomState>,
}

fn select(window: Window, what: Survived, selector: &Selector) -> Selection {
    Selection { window, profile_type: what.as_str().into(), selector: selector.clone() }
}

/// The part of a window in which processes were observed.
pub(super) fn observed(store: &dyn Store, window: Window, selector: &Selector) -> Result<Option<Window>, StoreError> {
    let step = window.duration().div_ceil(STEPS).max(Timestamp::SECOND);
    // By a label that all tiers have.
    let found = store.time_series(&select(window, Survived::Observed, selector), label::SERVICE, step)?;
    let mut steps = found.by_value.values().flat_map(|values| {
        let some = values.iter().enumerate().filter(|(_, value)| **value > 0);
        some.map(|(place, _)| place as u64)
    });
    let Some(first) = steps.next() else { return Ok(None) };
    let (first, last) = steps.fold((first, first), |(first, last), number| (first.min(number), last.max(number)));
    let at = |number: u64| window.from.saturating_add(number.saturating_mul(step));
    Ok(Some(Window::new(at(first), at(last + 1).min(window.to))))
}

/// Reads all counts; `tables` gets the stacks.
pub(super) fn read(store: &dyn Store, window: Window, selector: &Selector, tables: &mut Tables) -> Result<Counts, StoreError> {
    let parts = parts(window);
    let mut observed = Vec::new();
    for part in &parts {
        observed.push(merged(store, &select(*part, Survived::Observed, selector), tables)?);
    }
    let oldest = observed.iter().flatten().map(|(_, class, _)| *class).max();
    let mut counts = Counts { age: oldest.and_then(|oldest| old(window, oldest)), ..Counts::default() };
    let Some(age) = counts.age else { return Ok(counts) };
    counts.spans = parts.iter().zip(&observed).map(|(part, observed)| span(*part, observed, age)).collect();
    for what in [Survived::Reached, Survived::Freed, Survived::Lived] {
        for (place, part) in parts.iter().enumerate() {
            for (stack, class, value) in merged(store, &select(*part, what, selector), tables)? {
                add(&mut counts, (stack, place), what, (class, value));
            }
        }
    }
    // Bytes are asked for once, for all parts: what is made of them is their mean.
    for (stack, class, value) in merged(store, &select(window, Survived::Space, selector), tables)? {
        add(&mut counts, (stack, 0), Survived::Space, (class, value));
    }
    Ok(counts)
}

/// What counts as old where processes have come to be as old as `oldest`.
fn old(window: Window, oldest: AgeClass) -> Option<AgeClass> {
    let lived = oldest.end_seconds().map_or(f64::INFINITY, |seconds| seconds as f64);
    AgeClass::for_span(Timestamp(window.duration()).as_seconds().min(lived))
}

fn parts(window: Window) -> Vec<Window> {
    let edge = |number: u64| window.from.saturating_add(window.duration() / PARTS * number);
    (0..PARTS).map(|number| Window::new(edge(number), if number + 1 == PARTS { window.to } else { edge(number + 1) })).collect()
}

fn span(part: Window, observed: &[(StackId, AgeClass, u64)], age: AgeClass) -> Span {
    let sum = |from: AgeClass| {
        let older = observed.iter().filter(|(_, class, _)| *class >= from);
        older.map(|(_, _, milliseconds)| *milliseconds as f64 / 1e3).sum()
    };
    Span { seconds: Timestamp(part.duration()).as_seconds(), processes: sum(AgeClass::YOUNGEST), aged: sum(age) }
}

fn add(counts: &mut Counts, (stack, place): (StackId, usize), what: Survived, (class, value): (AgeClass, u64)) {
    let Some(age) = counts.age else { return };
    // A block reaches an age once; it is freed, and lives, at that age or any above it.
    let counted = if matches!(what, Survived::Reached | Survived::Space) { class == age } else { class >= age };
    let parts = counts.parts.entry(stack).or_insert_with(|| vec![Survival::default(); PARTS as usize]);
    let Some(part) = parts.get_mut(place).filter(|_| counted) else { return };
    let value = value as f64;
    match what {
        Survived::Reached => part.reached += value,
        Survived::Space => part.bytes += value,
        Survived::Freed => part.freed += value,
        Survived::Lived => part.lived += value / 1e3,
        Survived::Observed => {}
    }
}

/// Stacks without their age, in `tables`; those without one are nobody's that counts so.
fn merged(store: &dyn Store, selection: &Selection, tables: &mut Tables) -> Result<Vec<(StackId, AgeClass, u64)>, StoreError> {
    let found = store.merged(selection)?.merged;
    let remap = tables.absorb(&found.tables);
    let values: Vec<_> = found.values().filter_map(|(stack, value)| Some((remap.stack(stack)?, value.weight))).collect();
    Ok(values.into_iter().filter_map(|(stack, value)| split(stack, tables).map(|(stack, class)| (stack, class, value))).collect())
}

fn split(stack: StackId, tables: &mut Tables) -> Option<(StackId, AgeClass)> {
    let found = tables.stack(stack)?;
    let (outermost, rest) = found.locations.split_last()?;
    let location = tables.location(*outermost)?;
    let class = location.lines.iter().find_map(|line| AgeClass::parse(tables.string(line.function)))?;
    let (rest, end) = (rest.to_vec(), found.end);
    Some((tables.intern_stack(&rest, end), class))
}
