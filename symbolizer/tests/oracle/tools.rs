//! What other tools say of a program, and what we say, in one form.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use flamekeeper_object::ObjectFile;
use flamekeeper_symbolizer::Symbolized;

/// A function at a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Demangled, without what tells a clone of a function from the function: `addr2line` reads the function's name from its
    /// debug information, the others read the clone's from the symbol table.
    pub(crate) name: String,
    /// Empty where the line is unknown: `addr2line` then gives the name of a source file from the symbol table.
    pub(crate) file: String,
    pub(crate) line: u32,
}

/// Innermost first.
pub(crate) type Frames = Vec<Frame>;

pub(crate) fn frame(name: &str, file: &str, line: u32) -> Frame {
    let name = symbolic_demangle::demangle(name.strip_suffix(".cold").unwrap_or(name));
    let name = name.split(" [clone ").next().unwrap().to_owned();
    let file = if line == 0 { String::new() } else { symbolic_common::clean_path(file).into_owned() };
    Frame { name, file, line }
}

pub(crate) fn frames(found: &Symbolized) -> Frames {
    match found {
        Symbolized::Frames(frames) => frames.iter().map(|found| frame(&found.function, &found.file, found.line)).collect(),
        Symbolized::Unknown(_) => Vec::new(),
    }
}

/// Reads pairs of lines, function and `file:line` (llvm-symbolizer adds the column), under a line with the address. Frames
/// without a function, which llvm-symbolizer gives where a line is known and no function is, are left out.
pub(crate) fn frames_by_address(text: &str) -> BTreeMap<u64, Frames> {
    let mut answers: BTreeMap<u64, Frames> = BTreeMap::new();
    let (mut address, mut function) = (0, None);
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(hex) = line.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
            (address, function) = (hex, None);
            answers.insert(address, Vec::new());
        } else if let Some(function) = function.take() {
            let (file, line) = place(line);
            if function != "??" {
                answers.get_mut(&address).unwrap().push(frame(function, file, line));
            }
        } else {
            function = Some(line);
        }
    }
    answers
}

/// File and line of `file:line`, `file:line:column` or `file:line (discriminator 3)`.
fn place(text: &str) -> (&str, u32) {
    let text = text.split(" (discriminator").next().unwrap();
    let (rest, last) = text.rsplit_once(':').unwrap();
    match rest.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?))) {
        Some((file, line)) => (file, line),
        None => (rest, last.parse().unwrap_or(0)),
    }
}

/// Addresses all over `.text`, the same in every run.
pub(crate) fn addresses(program: &Path) -> Vec<u64> {
    let object = ObjectFile::open(program).unwrap();
    let text = object.section(".text").unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let random = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.svma.0 + state % text.data.len() as u64
    });
    let addresses: BTreeSet<u64> = random.take(8000).collect();
    assert!(addresses.len() > 3000);
    addresses.into_iter().collect()
}
