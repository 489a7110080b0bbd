//! The names of all locations of a profile.

mod generics;

use std::collections::HashMap;
use std::sync::Arc;

use flamekeeper_profile::{Frame, FrameKind, Line, Location, LocationId, Stack, StackEnd, StringId, Table, Tables, UnnamedReason};
use flamekeeper_symbolizer::{SymbolFrame, Symbolize, Symbolized};
use foldhash::fast::RandomState;
use indexmap::Equivalent;

use super::symbolize;

/// The frames of each location, and which of them are the same function.
///
/// A *frame* here is a function at a line; a *function* is what a call tree merges: equal name, module, kind and `inlined`.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Mostly each once.
    frames: Vec<Frame>,
    /// Function of each frame.
    function: Vec<u32>,
    /// The first frame of each function.
    functions: Vec<u32>,
    /// For each location the part of `flat` that holds its frames, innermost first.
    ranges: Vec<(u32, u32)>,
    flat: Vec<u32>,
    /// The function of each element of `flat`.
    flat_functions: Vec<u32>,
    truncated: HashMap<StackEnd, u32>,
    no_stack: Option<u32>,
}

/// Functions that differ by their type arguments alone, such as `std::vector<int>::push_back(int&&)` and
/// `std::vector<char>::push_back(char&&)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generics {
    /// Each is a function.
    #[default]
    Kept,
    /// All are one function: `std::vector<_>::push_back(_)`.
    Folded,
}

/// What makes two frames the same function. The module is the handle of the object's path; none for what has no module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Function {
    name: Arc<str>,
    module: Option<StringId>,
    kind: FrameKind,
    inlined: bool,
}

/// The same, not yet owned. Its hash is that of [`Function`]: the same fields in the same order.
#[derive(Clone, Copy, Hash)]
struct FunctionRef<'a> {
    name: &'a str,
    module: Option<StringId>,
    kind: FrameKind,
    inlined: bool,
}

impl Equivalent<Function> for FunctionRef<'_> {
    fn equivalent(&self, function: &Function) -> bool {
        let Function { name, module, kind, inlined } = function;
        *self.name == **name && self.module == *module && self.kind == *kind && self.inlined == *inlined
    }
}

/// A module as frames name it. Objects of one path are one module.
#[derive(Clone)]
struct Module {
    id: Option<StringId>,
    path: Arc<str>,
}

/// What a frame is known by that was met before, without a look at its texts.
#[derive(PartialEq, Eq, Hash)]
enum Known {
    /// The frame of a symbol file, by its address, which `Builder::met` keeps.
    Symbol(*const SymbolFrame, Option<StringId>, FrameKind),
    /// One that the sender named.
    Sent(Line, bool, Option<StringId>, FrameKind),
}

struct Builder<'a> {
    tables: &'a Tables,
    names: Names,
    keys: Table<Function>,
    known: HashMap<Known, u32, RandomState>,
    /// Frames that `known` has by their addresses: as long as they are here, none of these becomes another's.
    met: Vec<Arc<SymbolFrame>>,
    texts: HashMap<StringId, Arc<str>, RandomState>,
    /// Of each object.
    modules: Vec<Module>,
    no_module: Module,
}

impl<'a> Builder<'a> {
    fn new(tables: &'a Tables) -> Self {
        let no_module = Module { id: None, path: Arc::from("") };
        let mut builder = Self {
            tables,
            names: Names::default(),
            keys: Table::default(),
            known: HashMap::default(),
            met: Vec::new(),
            texts: HashMap::default(),
            modules: Vec::new(),
            no_module,
        };
        let module = |(_, object): (_, &flamekeeper_profile::Object)| {
            let path = builder.text(object.path);
            Module { id: Some(object.path).filter(|_| !path.is_empty()), path }
        };
        builder.modules = tables.objects().iter().map(module).collect();
        builder
    }

    /// A text of the tables, shared.
    fn text(&mut self, id: StringId) -> Arc<str> {
        Arc::clone(self.texts.entry(id).or_insert_with(|| self.tables.string(id).into()))
    }

    /// A frame that is new.
    fn push(&mut self, frame: Frame, module: Option<StringId>) -> u32 {
        let number = count(self.names.frames.len());
        let key = FunctionRef { name: &frame.name, module, kind: frame.kind, inlined: frame.inlined };
        let owned = || Function { name: Arc::clone(&frame.name), module, kind: key.kind, inlined: key.inlined };
        let function = self.keys.intern_with(&key, owned).index();
        if function == self.names.functions.len() {
            self.names.functions.push(number);
        }
        self.names.function.push(count(function));
        self.names.frames.push(frame);
        number
    }

    fn marker(&mut self, text: &str) -> u32 {
        let number = self.push(Frame::marker(text), None);
        self.names.function[number as usize]
    }

    fn tell(&mut self, frame: u32) {
        self.names.flat.push(frame);
        self.names.flat_functions.push(self.names.function[frame as usize]);
    }

    /// Tells the frames of a location, **innermost first**; there is always at least one. A location without a name becomes
    /// `module+0xaddress`, with the reason.
    fn location(&mut self, location: &Location, answer: Option<Symbolized>) {
        let module = location.object.and_then(|object| self.modules.get(object.index())).unwrap_or(&self.no_module).clone();
        match answer {
            None => self.sent(location, &module),
            Some(Symbolized::Unknown(reason)) => self.unnamed(location, &module, reason, false),
            Some(Symbolized::Frames(frames)) if frames.is_empty() => self.unnamed(location, &module, UnnamedReason::NotCovered, false),
            Some(Symbolized::Frames(frames)) => frames.iter().for_each(|frame| self.found(location, &module, frame)),
        }
    }

    fn unnamed(&mut self, location: &Location, module: &Module, reason: UnnamedReason, inlined: bool) {
        let frame = self.push(symbolize::unnamed(&module.path, location, reason, inlined), module.id);
        self.tell(frame);
    }

    /// A frame of a symbol file. One that was met before, as most were, costs a hash of its address.
    fn found(&mut self, location: &Location, module: &Module, frame: &Arc<SymbolFrame>) {
        let known = Known::Symbol(Arc::as_ptr(frame), module.id, location.kind);
        if let Some(number) = self.known.get(&known) {
            return self.tell(*number);
        }
        let SymbolFrame { function, start_line, file, line, inlined } = &**frame;
        if function.is_empty() {
            return self.unnamed(location, module, UnnamedReason::NotCovered, *inlined);
        }
        let new = Frame {
            name: Arc::clone(function),
            module: Arc::clone(&module.path),
            file: Arc::clone(file),
            line: *line,
            start_line: *start_line,
            kind: location.kind,
            inlined: *inlined,
            unnamed: None,
        };
        let number = self.push(new, module.id);
        self.known.insert(known, number);
        self.met.push(Arc::clone(frame));
        self.tell(number);
    }

    /// The frames that the sender named itself. A nameless one among named ones is unnamed.
    fn sent(&mut self, location: &Location, module: &Module) {
        let outermost = location.lines.len().saturating_sub(1);
        for (index, line) in location.lines.iter().enumerate() {
            let inlined = index < outermost;
            let known = Known::Sent(*line, inlined, module.id, location.kind);
            if let Some(number) = self.known.get(&known) {
                self.tell(*number);
                continue;
            }
            let (name, file) = (self.text(line.function), self.text(line.file));
            if name.is_empty() {
                self.unnamed(location, module, UnnamedReason::NotCovered, inlined);
                continue;
            }
            let (module_path, kind) = (Arc::clone(&module.path), location.kind);
            let new = Frame { name, module: module_path, file, line: line.line, start_line: 0, kind, inlined, unnamed: None };
            let number = self.push(new, module.id);
            self.known.insert(known, number);
            self.tell(number);
        }
    }
}

/// Frames are bounded by the locations and their inlined functions, far below 2^32.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Names {
    /// Names every location that one of the stacks holds, once each.
    pub(super) fn of<'a>(tables: &'a Tables, stacks: impl Iterator<Item = Option<&'a Stack>>, symbols: &dyn Symbolize) -> Self {
        let mut builder = Builder::new(tables);
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
                    let function = builder.marker(&format!("[truncated: {}]", reason.as_str()));
                    builder.names.truncated.insert(end, function);
                }
            } else if locations.is_empty() && builder.names.no_stack.is_none() {
                builder.names.no_stack = Some(builder.marker("[no stack]"));
            }
        }
        let answers = symbolize::answers(tables, &used, symbols);
        for (((_, location), used), answer) in tables.locations().iter().zip(used).zip(answers) {
            let start = count(builder.names.flat.len());
            if used {
                builder.location(location, answer);
            }
            let end = count(builder.names.flat.len());
            builder.names.ranges.push((start, end));
        }
        builder.names
    }

    fn range(&self, location: LocationId) -> std::ops::Range<usize> {
        self.ranges.get(location.index()).map_or(0..0, |(from, to)| *from as usize..*to as usize)
    }

    /// The frames of a location, innermost first. None for a location that no stack holds.
    pub fn location(&self, location: LocationId) -> impl Iterator<Item = &Frame> {
        // Every number in `flat` is one of `frames`, so that none is left out.
        self.flat[self.range(location)].iter().filter_map(|frame| self.frames.get(*frame as usize))
    }

    /// The functions of a location, innermost first.
    pub(super) fn location_functions(&self, location: LocationId) -> &[u32] {
        &self.flat_functions[self.range(location)]
    }

    /// Each function by the first frame that was seen of it.
    pub(super) fn functions(&self) -> impl Iterator<Item = &Frame> {
        // As above: one for each function, in their order.
        self.functions.iter().filter_map(|frame| self.frames.get(*frame as usize))
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
