//! A profile before and after its locations have names.

use flamekeeper_profile::{
    Batch, CallTree, CallTreeBuilder, Completeness, Frame, FrameId, LocationId, Merged, StackEnd, StackId, Tables, Timestamp, Value, Window,
};
use flamekeeper_symbolizer::Symbolize;

use super::names::{Generics, Names};

/// Merged stacks and what they mean, not yet named.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The stacks.
    pub merged: Merged,
    /// The type, as [`flamekeeper_profile::SampleType::query_name`] names it: `cpu`.
    pub profile_type: String,
    /// Unit of the weights: `nanoseconds`.
    pub unit: String,
    /// The window that the samples were taken in.
    pub window: Window,
    /// What was taken and lost. Of this value only the ledger is read: the rest is counted again from the stacks, so that
    /// it is right for a part of them too.
    pub completeness: Completeness,
}

impl Profile {
    /// Nothing yet, of a type: what `flamekeeper record` fills from the engine's batches.
    #[must_use]
    pub fn new(profile_type: &str) -> Self {
        Self {
            merged: Merged::new(),
            profile_type: profile_type.into(),
            unit: String::new(),
            window: Window::new(Timestamp(u64::MAX), Timestamp(0)),
            completeness: Completeness::default(),
        }
    }

    /// Adds the series of this profile's type in a batch, and the batch's ledger; the window grows to hold the batch's.
    pub fn add(&mut self, batch: &Batch) {
        let remap = self.merged.tables.absorb(&batch.tables);
        for series in batch.series.iter().filter(|series| series.sample_type.query_name() == self.profile_type) {
            series.sample_type.query_unit().clone_into(&mut self.unit);
            self.merged.add_series(&remap, &series.sample_type, &series.values);
        }
        self.completeness.ledger.add(&batch.ledger);
        self.window = Window::new(self.window.from.min(batch.window.from), self.window.to.max(batch.window.to));
    }

    /// Names all locations.
    #[must_use]
    pub fn symbolize(self, symbols: &dyn Symbolize) -> SymbolizedProfile {
        let Self { merged, profile_type, unit, window, completeness } = self;
        let mut stacks: Vec<(StackId, Value)> = merged.values().collect();
        // A hash map's order differs from run to run; equal questions must have equal answers, byte by byte.
        stacks.sort_unstable_by_key(|(stack, _)| *stack);
        let tables = merged.tables;
        let names = Names::of(&tables, stacks.iter().map(|(stack, _)| tables.stack(*stack)), symbols);
        let mut profile = SymbolizedProfile { tables, names, stacks, profile_type, unit, window, completeness };
        profile.count();
        profile
    }
}

/// A profile whose locations have names.
#[derive(Clone, Debug)]
pub struct SymbolizedProfile {
    pub(crate) tables: Tables,
    pub(crate) names: Names,
    /// By handle.
    pub(crate) stacks: Vec<(StackId, Value)>,
    profile_type: String,
    unit: String,
    window: Window,
    completeness: Completeness,
}

impl SymbolizedProfile {
    /// The type: `cpu`.
    #[must_use]
    pub fn profile_type(&self) -> &str {
        &self.profile_type
    }

    /// Unit of the weights; empty where nothing was selected.
    #[must_use]
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// The window.
    #[must_use]
    pub const fn window(&self) -> Window {
        self.window
    }

    /// What is missing or nameless.
    #[must_use]
    pub const fn completeness(&self) -> &Completeness {
        &self.completeness
    }

    /// Weight and samples over all stacks.
    #[must_use]
    pub fn total(&self) -> Value {
        self.stacks.iter().fold(Value::default(), |sum, (_, value)| Value {
            weight: sum.weight.saturating_add(value.weight),
            samples: sum.samples.saturating_add(value.samples),
        })
    }

    /// The same with generic functions kept apart or folded. What was folded stays so.
    #[must_use]
    pub fn with_generics(mut self, generics: Generics) -> Self {
        if generics == Generics::Folded {
            self.names.fold_generics();
            self.count();
        }
        self
    }

    /// The part that lies under a path of function names, **root first**: only stacks that start with these names are
    /// kept, the path itself included. Names and counts are then those of this part. A name that two functions share
    /// keeps both.
    #[must_use]
    pub fn zoom(mut self, path: &[String]) -> Self {
        if path.is_empty() {
            return self;
        }
        let mut stacks = std::mem::take(&mut self.stacks);
        let names: Vec<&str> = self.names.functions().map(|frame| &*frame.name).collect();
        stacks.retain(|(stack, _)| {
            let mut functions = self.functions_root_first(*stack);
            path.iter().all(|name| functions.next().is_some_and(|function| names[function as usize] == name))
        });
        self.stacks = stacks;
        self.count();
        self
    }

    /// The call tree of all stacks. A stack that does not reach a root stands under a marker that says why
    /// (`[truncated: copy_exhausted]`), so that it is not drawn as if its outermost known function had been called by
    /// nobody.
    #[must_use]
    pub fn tree(&self) -> CallTree {
        let mut builder = CallTreeBuilder::new();
        let functions: Vec<FrameId> = self.names.functions().map(|frame| builder.intern(frame.clone())).collect();
        for (stack, value) in &self.stacks {
            builder.add(self.functions_root_first(*stack).map(|function| functions[function as usize]), value.weight);
        }
        builder.finish()
    }

    /// The frames of a stack, leaf first, inlined functions before those that they are inlined into.
    pub fn frames(&self, stack: StackId) -> impl Iterator<Item = &Frame> {
        let (locations, _) = self.stack(stack);
        locations.iter().flat_map(|location| self.names.location(*location))
    }

    /// Locations leaf first, and how the stack ends; nothing for a handle of other tables.
    pub(crate) fn stack(&self, id: StackId) -> (&[LocationId], StackEnd) {
        self.tables.stack(id).map_or((&[], StackEnd::Unstated), |stack| (&stack.locations, stack.end))
    }

    /// The functions of a stack, a marker at its root side included.
    pub(super) fn functions_root_first(&self, stack: StackId) -> impl Iterator<Item = u32> {
        let (locations, end) = self.stack(stack);
        let functions = locations.iter().rev().flat_map(|location| self.names.location_functions(*location).iter().rev().copied());
        self.names.end_marker(locations, end).into_iter().chain(functions)
    }

    /// Counts again what the stacks say of themselves.
    fn count(&mut self) {
        let counted = self.counted(self.stacks.iter().copied());
        self.completeness = Completeness { ledger: self.completeness.ledger, ..counted };
    }

    /// What some of the stacks say of themselves, with an empty ledger.
    pub(super) fn counted(&self, stacks: impl Iterator<Item = (StackId, Value)>) -> Completeness {
        let mut counted = Completeness::default();
        let functions: Vec<_> = self.names.functions().collect();
        let mut seen = vec![false; functions.len()];
        for (stack, value) in stacks {
            let (locations, end) = self.stack(stack);
            counted.count(value.samples, end);
            let leaf = locations.first().and_then(|leaf| self.names.location(*leaf).next());
            if let Some(reason) = leaf.and_then(|leaf| leaf.unnamed) {
                counted.count_unnamed(value.samples, reason);
            }
            for location in locations {
                for function in self.names.location_functions(*location) {
                    seen[*function as usize] = true;
                }
            }
        }
        for (frame, _) in functions.iter().zip(&seen).filter(|(_, seen)| **seen) {
            counted.frames += 1;
            counted.frames_unnamed += u64::from(frame.unnamed.is_some());
        }
        counted
    }
}
