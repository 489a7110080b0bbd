//! The names of all locations of a profile.

use std::collections::HashMap;

use flamekeeper_profile::{Frame, FrameKind, Id, LocationId, Stack, StackEnd, Table, Tables};
use flamekeeper_symbolizer::Symbolize;

use super::symbolize;

/// The frames of each location, and which of them are the same function.
///
/// A *frame* here is a function at a line; a *function* is what a call tree merges: equal name, module, kind and `inlined`.
#[derive(Clone, Debug, Default)]
pub struct Names {
    frames: Table<Frame>,
    /// Function of each frame.
    function: Vec<u32>,
    /// The first frame of each function.
    functions: Vec<Id<Frame>>,
    /// For each location the part of `flat` that holds its frames, innermost first.
    ranges: Vec<(u32, u32)>,
    flat: Vec<Id<Frame>>,
    /// The function of each element of `flat`.
    flat_functions: Vec<u32>,
    truncated: HashMap<StackEnd, u32>,
    no_stack: Option<u32>,
}

type FunctionKey = (Box<str>, Box<str>, FrameKind, bool);

#[derive(Default)]
struct Builder {
    names: Names,
    keys: HashMap<FunctionKey, u32>,
}

impl Builder {
    fn frame(&mut self, frame: Frame) -> Id<Frame> {
        let known = self.names.frames.len();
        let key: FunctionKey = (frame.name.clone(), frame.module.clone(), frame.kind, frame.inlined);
        let id = self.names.frames.intern(frame);
        if id.index() == known {
            let next = count(self.names.functions.len());
            let function = *self.keys.entry(key).or_insert(next);
            if function == next {
                self.names.functions.push(id);
            }
            self.names.function.push(function);
        }
        id
    }

    fn marker(&mut self, text: String) -> u32 {
        let id = self.frame(symbolize::marker(text));
        self.names.function[id.index()]
    }

    fn location(&mut self, frames: Vec<Frame>) {
        let start = count(self.names.flat.len());
        for frame in frames {
            let id = self.frame(frame);
            self.names.flat.push(id);
            self.names.flat_functions.push(self.names.function[id.index()]);
        }
        self.names.ranges.push((start, count(self.names.flat.len())));
    }
}

/// Frames are bounded by the locations and their inlined functions, far below 2^32.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Names {
    /// Names every location that one of the stacks holds, once each.
    pub(super) fn of<'a>(tables: &'a Tables, stacks: impl Iterator<Item = Option<&'a Stack>>, symbols: &dyn Symbolize) -> Self {
        let mut builder = Builder::default();
        let mut used = vec![false; tables.locations().len()];
        for stack in stacks {
            let (locations, end) = stack.map_or((&[][..], StackEnd::Unstated), |stack| (&*stack.locations, stack.end));
            for location in locations {
                if let Some(used) = used.get_mut(location.index()) {
                    *used = true;
                }
            }
            if let StackEnd::Truncated(reason) = end {
                if !builder.names.truncated.contains_key(&end) {
                    let function = builder.marker(format!("[truncated: {}]", reason.as_str()));
                    builder.names.truncated.insert(end, function);
                }
            } else if locations.is_empty() && builder.names.no_stack.is_none() {
                builder.names.no_stack = Some(builder.marker("[no stack]".to_owned()));
            }
        }
        for (id, location) in tables.locations().iter() {
            let frames = if used[id.index()] { symbolize::frames(tables, location, symbols) } else { Vec::new() };
            builder.location(frames);
        }
        builder.names
    }

    fn range(&self, location: LocationId) -> std::ops::Range<usize> {
        self.ranges.get(location.index()).map_or(0..0, |(from, to)| *from as usize..*to as usize)
    }

    /// The frames of a location, innermost first. None for a location that no stack holds.
    pub fn location(&self, location: LocationId) -> impl Iterator<Item = &Frame> {
        // Every handle in `flat` is one of `frames`, so that none is left out.
        self.flat[self.range(location)].iter().filter_map(|id| self.frames.get(*id))
    }

    /// The functions of a location, innermost first.
    pub(super) fn location_functions(&self, location: LocationId) -> &[u32] {
        &self.flat_functions[self.range(location)]
    }

    /// Each function by the first frame that was seen of it.
    pub(super) fn functions(&self) -> impl Iterator<Item = &Frame> {
        // As above: one for each function, in their order.
        self.functions.iter().filter_map(|id| self.frames.get(*id))
    }

    /// The marker at the root side of a stack that does not reach a root, or that holds nothing.
    pub(super) fn end_marker(&self, locations: &[LocationId], end: StackEnd) -> Option<u32> {
        match end {
            StackEnd::Truncated(_) => self.truncated.get(&end).copied(),
            StackEnd::Root | StackEnd::Unstated if locations.is_empty() => self.no_stack,
            StackEnd::Root | StackEnd::Unstated => None,
        }
    }
}
