//! Functions that differ by their type arguments alone, under one name.
//!
//! C++, Rust and Go compile a generic function once for each choice of types, and each copy has its own name. Folded, `std::vector<int>::push_back(int&&)`
//! is `std::vector<_>::push_back(_)`, `<alloc::vec::Vec<u8>>::push` is `alloc::vec::Vec<_>::push`, and `main.Map[go.shape.int]` is `main.Map[...]`.
//!
//! Only arguments go. Parameters and the return type of a C++ function go with them, since they are made of them: overloads of a template are one.
//! Those of a function that has no arguments of this kind stay, and so does every name that is not understood.

mod brackets;
mod rust;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use flamekeeper_profile::{Frame, FrameKind};

use self::brackets::{OPERATOR, closing, ends_name, is_hash, is_word, operator, split_at_word};
use super::{Names, count};

impl Names {
    /// Makes one function of those that differ by their type arguments alone. The work is done once for each function.
    pub(in crate::query) fn fold_generics(&mut self) {
        let folded: Vec<Arc<str>> = self.functions().map(|frame| name_of(frame).unwrap_or_else(|| Arc::clone(&frame.name))).collect();
        let mut places: HashMap<(&str, &str, FrameKind, bool), u32> = HashMap::new();
        let mut functions = Vec::new();
        let new: Vec<u32> = (self.functions.iter().zip(self.functions()).zip(&folded))
            .map(|((first, frame), name)| {
                *places.entry((name, &frame.module, frame.kind, frame.inlined)).or_insert_with(|| {
                    functions.push(*first);
                    count(functions.len() - 1)
                })
            })
            .collect();
        drop(places);
        for (frame, function) in self.frames.iter_mut().zip(&self.function) {
            frame.name = Arc::clone(&folded[*function as usize]);
        }
        let numbers = self.function.iter_mut().chain(&mut self.flat_functions).chain(self.truncated.values_mut()).chain(&mut self.no_stack);
        numbers.for_each(|function| *function = new[*function as usize]);
        self.functions = functions;
    }
}

/// The name of a compiled function that is to be folded: other languages write brackets too, but for other things (`<init>`, `<lambda>`).
fn name_of(frame: &Frame) -> Option<Arc<str>> {
    let compiled = matches!(frame.kind, FrameKind::Native | FrameKind::Go) && frame.unnamed.is_none();
    compiled.then(|| fold(&frame.name)).flatten().map(Arc::from)
}

/// The name without its type arguments; none where it has none.
fn fold(name: &str) -> Option<String> {
    if !name.contains(['<', '[']) {
        return None;
    }
    let pieces = Reader::new(name).read()?;
    let mut folded = String::with_capacity(name.len());
    pieces.iter().for_each(|piece| folded.push_str(piece.text()));
    (folded != name).then_some(folded)
}

/// A part of a generic function's name.
enum Piece<'a> {
    /// As it stands in the name.
    Text(&'a str),
    /// What stands in the place of arguments.
    Arguments(&'static str),
    /// The type that Rust code implements something for, without its arguments.
    Type(String),
}

impl Piece<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Arguments(text) => text,
            Self::Type(text) => text,
        }
    }
}

/// Reads a name from left to right.
struct Reader<'a> {
    name: &'a str,
    at: usize,
    /// Where the text begins that is in no piece yet.
    open: usize,
    pieces: Vec<Piece<'a>>,
    /// Whether the function is generic.
    generic: bool,
    /// Brackets that are open, of those that are not skipped: `{lambda(`, `(anonymous namespace`.
    depth: usize,
    /// Where the name begins behind the type that it returns: the number of the piece.
    start: usize,
    /// Whether parameters were seen.
    parameters: bool,
    /// Whether this is the type that a conversion operator converts to.
    conversion: bool,
    /// Whether an operator ends here.
    operator: bool,
}

impl<'a> Reader<'a> {
    fn new(name: &'a str) -> Self {
        Self {
            name,
            at: 0,
            open: 0,
            pieces: Vec::new(),
            generic: false,
            depth: 0,
            start: 0,
            parameters: false,
            conversion: false,
            operator: false,
        }
    }

    /// The pieces of a generic function's name; none where it is not generic, or not understood.
    fn read(mut self) -> Option<Vec<Piece<'a>>> {
        while let Some(byte) = self.name.as_bytes().get(self.at).copied() {
            let behind_operator = std::mem::take(&mut self.operator);
            match byte {
                b'<' => self.angle(behind_operator)?,
                b'>' if self.at == 0 || self.before() != Some(b'-') => return None,
                b'[' => self.square()?,
                b'(' => self.round(behind_operator)?,
                b'{' => self.step(1),
                b')' | b'}' => self.step(-1),
                b' ' => self.space(),
                b'o' => self.word(),
                _ => self.at += 1,
            }
        }
        self.flush(self.name.len());
        let returned = if self.parameters { self.start } else { 0 };
        self.generic.then(|| self.pieces.split_off(returned))
    }

    fn before(&self) -> Option<u8> {
        self.name.as_bytes().get(self.at.checked_sub(1)?).copied()
    }

    fn step(&mut self, by: isize) {
        self.depth = self.depth.saturating_add_signed(by);
        self.at += 1;
    }

    /// Ends the open text at a place.
    fn flush(&mut self, end: usize) {
        // Both are at ASCII characters or at an end.
        self.pieces.extend(self.name.get(self.open..end).filter(|text| !text.is_empty()).map(Piece::Text));
        self.open = end;
    }

    /// Puts a piece in the place of the text up to an end.
    fn replace(&mut self, piece: Piece<'a>, end: usize) {
        self.flush(self.at);
        self.pieces.push(piece);
        (self.open, self.at) = (end, end);
    }

    fn inside(&self, close: usize) -> &'a str {
        self.name.get(self.at + 1..close).unwrap_or("")
    }

    fn angle(&mut self, behind_operator: bool) -> Option<()> {
        let close = closing(self.name, self.at)?;
        let inside = self.inside(close);
        // The sign of an operator, where one ends here.
        let before =
            self.pieces.last().filter(|_| self.open == self.at).map_or(self.before(), |piece| piece.text().as_bytes().last().copied());
        if ["lambda", "unnamed", "anonymous"].iter().any(|word| inside.starts_with(word)) {
            self.at = close + 1;
            return Some(());
        }
        if behind_operator || before.is_some_and(ends_name) {
            self.generic |= !self.conversion;
            // Else it would read as the operator `<<`.
            self.replace(Piece::Arguments(if before == Some(b'<') { " <_>" } else { "<_>" }), close + 1);
            return Some(());
        }
        let of_rust = before == Some(b':');
        if of_rust && !inside.starts_with("impl ") && split_at_word(inside, " as ").is_none() {
            self.generic = true;
            self.replace(Piece::Arguments("<_>"), close + 1);
        } else if of_rust || self.at == 0 {
            let mut folded = String::new();
            self.generic |= rust::header(inside, &mut folded, 0);
            self.replace(Piece::Type(folded), close + 1);
        } else {
            self.at = close + 1;
        }
        Some(())
    }

    /// Arguments of Go; in C++ a tag of the binary interface stands in such brackets, or nothing does, and in Rust a crate's hash.
    fn square(&mut self) -> Option<()> {
        if !self.before().is_some_and(is_word) {
            self.at += 1;
            return Some(());
        }
        let close = closing(self.name, self.at)?;
        let inside = self.inside(close);
        if inside.is_empty() || inside.starts_with("abi:") || is_hash(inside) {
            self.at = close + 1;
        } else {
            self.generic = true;
            self.replace(Piece::Arguments("[...]"), close + 1);
        }
        Some(())
    }

    /// Parameters, or what is a part of the name: `(anonymous namespace)`, `main.(*List[...]).Push`.
    fn round(&mut self, behind_operator: bool) -> Option<()> {
        if !behind_operator && !self.before().is_some_and(ends_name) {
            self.step(1);
            return Some(());
        }
        let close = closing(self.name, self.at)?;
        if self.name.get(..self.at).is_some_and(|before| before.ends_with("decltype")) {
            self.at = close + 1;
            return Some(());
        }
        let folded = if self.inside(close).is_empty() { "()" } else { "(_)" };
        (self.parameters, self.conversion) = (true, false);
        self.replace(Piece::Arguments(folded), close + 1);
        Some(())
    }

    /// What stands before the last space before the parameters is the type that is returned.
    fn space(&mut self) {
        self.at += 1;
        if self.depth == 0 && !self.parameters && !self.conversion {
            self.flush(self.at);
            self.start = self.pieces.len();
        }
    }

    /// Skips the characters of an operator of C++, which may be brackets.
    fn word(&mut self) {
        let Some(len) = operator(self.name, self.at) else {
            self.at += 1;
            return;
        };
        self.at += len;
        let rest = self.name.as_bytes().get(self.at..).unwrap_or(&[]);
        if len > OPERATOR.len() {
            self.operator = true;
            // `operator< <int>`: the space parts what would be another operator.
            if rest.starts_with(b" <") {
                self.flush(self.at);
                (self.at, self.open) = (self.at + 1, self.at + 1);
            }
        } else {
            // `operator"" _s` has a space in its name; `operator bool` and `operator new` have a type there, or a word.
            self.at += if rest.starts_with(b"\"\" ") { 3 } else { 0 };
            self.conversion = rest.first() == Some(&b' ');
        }
    }
}
