//! Texts and frames of one symbol file, each once.
//!
//! Most lookups of a file end in a function and a line that one before has met. What was met is not copied again, and two
//! answers that hold the same frame hold the same pointer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::convert::split_line;
use crate::symbolized::SymbolFrame;

/// What a map takes for an entry beside what the entry points to, about.
const ENTRY: usize = 48;
/// The counts of an `Arc`.
const COUNTS: usize = 16;

/// Texts and frames that were met in one symbol file. It must not be used for two: names are known by their place.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    /// By the place of the name in the symbol file and its length: the name, and the line that the function begins at.
    names: HashMap<(usize, usize), (Arc<str>, u32), RandomState>,
    files: HashSet<Arc<str>, RandomState>,
    frames: HashMap<FrameKey, Arc<SymbolFrame>, RandomState>,
    bytes: usize,
}

/// A frame by the addresses of its texts, which the frame keeps alive. A name decides the line that the function begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FrameKey {
    function: usize,
    file: usize,
    line: u32,
    inlined: bool,
}

impl Interner {
    /// Memory that it takes, about.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// A frame. `function` is a name as the symbol file has it and `at` its place in the file; none for one that is not in it.
    pub(crate) fn frame(&mut self, function: &str, at: Option<usize>, file: &str, line: u32, inlined: bool) -> Arc<SymbolFrame> {
        let (function, start_line) = self.name(function, at);
        let file = self.file(file);
        let key = FrameKey { function: function.as_ptr().addr(), file: file.as_ptr().addr(), line, inlined };
        let bytes = &mut self.bytes;
        let frame = self.frames.entry(key).or_insert_with(|| {
            *bytes += size_of::<SymbolFrame>() + COUNTS + size_of::<FrameKey>() + ENTRY;
            Arc::new(SymbolFrame { function, start_line, file, line, inlined })
        });
        Arc::clone(frame)
    }

    fn name(&mut self, text: &str, at: Option<usize>) -> (Arc<str>, u32) {
        let new = || {
            let (name, start_line) = split_line(text);
            (Arc::from(name), start_line)
        };
        let Some(at) = at else { return new() };
        let bytes = &mut self.bytes;
        let (name, start_line) = self.names.entry((at, text.len())).or_insert_with(|| {
            *bytes += text.len() + COUNTS + ENTRY;
            new()
        });
        (Arc::clone(name), *start_line)
    }

    fn file(&mut self, path: &str) -> Arc<str> {
        if let Some(known) = self.files.get(path) {
            return Arc::clone(known);
        }
        self.bytes += path.len() + COUNTS + ENTRY;
        let new: Arc<str> = Arc::from(path);
        self.files.insert(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal frames are one, and share their texts with those that differ in the line only.
    #[test]
    fn each_once() {
        let mut interner = Interner::default();
        let first = interner.frame("f\u{0}7", Some(100), "a.c", 8, false);
        assert_eq!((&*first.function, first.start_line, &*first.file, first.line), ("f", 7, "a.c", 8));
        let bytes = interner.bytes();
        let again = interner.frame("f\u{0}7", Some(100), "a.c", 8, false);
        assert!(Arc::ptr_eq(&first, &again) && interner.bytes() == bytes);
        let other = interner.frame("f\u{0}7", Some(100), "a.c", 9, false);
        assert!(!Arc::ptr_eq(&first, &other) && Arc::ptr_eq(&first.function, &other.function) && Arc::ptr_eq(&first.file, &other.file));
        assert!(interner.bytes() > bytes);
        let inlined = interner.frame("f\u{0}7", Some(100), "a.c", 8, true);
        assert!(inlined.inlined && !first.inlined);
    }

    /// A name that stands elsewhere is another, and one that stands nowhere is read each time.
    #[test]
    fn names_by_place() {
        let mut interner = Interner::default();
        let names = [Some(0), Some(1), None, None].map(|at| interner.frame("g", at, "", 0, false));
        assert!(names.iter().all(|frame| &*frame.function == "g" && frame.start_line == 0));
        assert!(!Arc::ptr_eq(&names[0], &names[1]) && !Arc::ptr_eq(&names[2], &names[3]));
    }
}
