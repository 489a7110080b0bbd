//! Names as their programmers wrote them, and whole paths, worked out once when an object is converted.

use std::borrow::Cow;
use std::collections::HashMap;

use symbolic_common::{Language, Name, NameMangling, clean_path, join_path};
use symbolic_demangle::{Demangle, DemangleOptions};
use symbolic_symcache::transform::{Function, SourceLocation, Transformer};

/// Longest name that demangling is tried on; the longest seen in real Rust and C++ programs are some 20 KB.
const MAX_MANGLED: usize = 64 << 10;

/// Demangles names while an object is converted, once per symbol, so that a lookup has nothing to do. The form is the one of
/// `c++filt`, with parameters, and of Rust without hashes.
#[derive(Default)]
pub(crate) struct Demangler {
    /// Whole path by compilation directory, directory and name, which a NUL parts. An object has far fewer files than lines.
    paths: HashMap<String, String>,
    /// Kept for its memory.
    key: String,
}

impl Transformer for Demangler {
    fn transform_function<'f>(&'f mut self, mut function: Function<'f>) -> Function<'f> {
        if !function.name.contains(LINE) {
            function.name = Cow::Owned(readable(&function.name));
        }
        function
    }

    fn transform_source_location<'f>(&'f mut self, mut location: SourceLocation<'f>) -> SourceLocation<'f> {
        let directories = [location.file.comp_dir.take(), location.file.directory.take()].map(Option::unwrap_or_default);
        let [compilation, directory] = &directories;
        self.key.clear();
        self.key.extend([compilation, "\0", directory, "\0", &location.file.name]);
        if !self.paths.contains_key(&self.key) {
            let path = join_path(&join_path(compilation, directory), &location.file.name);
            self.paths.insert(self.key.clone(), clean_path(&path).into_owned());
        }
        if let Some(path) = self.paths.get(&self.key) {
            location.file.name = Cow::Borrowed(path);
        }
        location
    }
}

/// What parts a function's name from the line that it begins at, in a symbol file. No name of an object has it.
const LINE: char = '\0';

/// A name as a symbol file has it: with the line that the function begins at, 0 where it is unknown.
pub(super) fn with_line(name: String, line: u32) -> String {
    if line == 0 { format!("{name}{LINE}") } else { format!("{name}{LINE}{line}") }
}

/// The name, and the line that the function begins at.
pub(crate) fn split_line(stored: &str) -> (&str, u32) {
    stored.split_once(LINE).map_or((stored, 0), |(name, line)| (name, line.parse().unwrap_or(0)))
}

/// How well people know a function by this name of its symbol: the greatest is best. Markers of what a library calls inside itself, and versions
/// that only old programs call, come last; then each leading underscore counts against a name, but for those of mangled ones.
pub(super) fn familiarity(symbol: &str) -> impl Ord + use<> {
    let (name, old) = match symbol.split_once('@') {
        Some((name, version)) => (name, !version.starts_with('@')),
        None => (symbol, false),
    };
    let inner = name.starts_with("__GI_") || name.contains("_alias_");
    let underscores = if is_mangled(name) { 0 } else { name.bytes().take_while(|byte| *byte == b'_').count() };
    (!inner, !old, std::cmp::Reverse(underscores))
}

/// A symbol's name as the programmer wrote it, without its version (`memcpy@@GLIBC_2.14`) and without what says that it is a part or a clone of
/// the function.
#[must_use]
pub fn readable(symbol: &str) -> String {
    let whole = without_clones(symbol.split_once('@').map_or(symbol, |(name, _)| name));
    demangle(whole).unwrap_or_else(|| whole.to_owned())
}

/// What compilers add to the name of a function for a part of it, or a copy for certain callers: its unlikely code, a copy with constant
/// arguments, with arguments passed otherwise, the part that is not inlined, and names made unique by link-time optimization. A number may
/// follow, and several of them.
const CLONES: [&str; 7] = ["cold", "constprop", "isra", "part", "lto_priv", "localalias", "llvm"];

/// The function that a symbol's name means: `foo` of `foo.cold`, `foo.constprop.0.isra.2`, `foo.llvm.123`.
fn without_clones(name: &str) -> &str {
    let mut whole = name;
    loop {
        let numberless = match whole.rsplit_once('.') {
            Some((rest, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => rest,
            _ => whole,
        };
        match numberless.rsplit_once('.') {
            Some((rest, clone)) if !rest.is_empty() && CLONES.contains(&clone) => whole = rest,
            _ => return whole,
        }
    }
}

/// Whether a name looks like one of a mangled C++ or Rust symbol.
pub(super) fn is_mangled(name: &str) -> bool {
    name.starts_with("_Z") || name.starts_with("_R") || name.starts_with("__Z")
}

/// None where the name is not mangled, or in a way that is not known.
fn demangle(name: &str) -> Option<String> {
    let mangled = is_mangled(name) && name.len() <= MAX_MANGLED;
    mangled.then(|| Name::new(name, NameMangling::Mangled, Language::Unknown).demangle(DemangleOptions::complete())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both manglings of Rust, C++ with parameters and clones; plain names stay.
    #[test]
    fn languages() {
        let demangled = |name| demangle(name).unwrap();
        assert_eq!(demangled("_ZN4core3fmt5write17h0123456789abcdefE"), "core::fmt::write");
        assert_eq!(demangled("_RNvNtCs1234_7mycrate3foo3bar"), "mycrate::foo::bar");
        assert_eq!(demangled("_ZN3foo3barEi"), "foo::bar(int)");
        assert_eq!(demangled("_ZN3foo3barEi.cold"), "foo::bar(int) [clone .cold]");
        assert_eq!(demangle("main"), None);
        assert_eq!(demangle("_Z"), None);
        assert_eq!(readable("$s4main3fooyyF"), "$s4main3fooyyF");
    }

    /// What is in the C library's own table at two addresses: the name that programs call comes last in this order.
    #[test]
    fn familiar_names() {
        let order = |names: &[&'static str]| {
            let mut names = names.to_vec();
            names.sort_by_key(|name| familiarity(name));
            names
        };
        let start = ["__libc_start_main_alias_2", "__libc_start_main@GLIBC_2.2.5", "__libc_start_main@@GLIBC_2.34"];
        assert_eq!(order(&[start[2], start[0], start[1]]), start);
        assert_eq!(order(&["write", "__GI___write", "__write", "_write"]), ["__GI___write", "__write", "_write", "write"]);
        assert_eq!(order(&["_ZN3foo3barEi", "_bar"]), ["_bar", "_ZN3foo3barEi"]);
        let readable_ones = ["memcpy@@GLIBC_2.14", "_ZN3foo3barEi@@FOO_1", "f.cold@V1"].map(readable);
        assert_eq!(readable_ones, ["memcpy", "foo::bar(int)", "f"]);
    }

    /// Parts and clones are their function; other dots are names.
    #[test]
    fn clones() {
        let names = ["f.cold", "f.cold.7", "f.constprop.0.isra.2", "f.part.1", "f.lto_priv.0.cold", "_RNvC1a1b.llvm.123"];
        assert_eq!(names.map(without_clones), ["f", "f", "f", "f", "f", "_RNvC1a1b"]);
        assert_eq!(["f.7", ".cold", "f", "main.cold.func1", "f."].map(without_clones), ["f.7", ".cold", "f", "main.cold.func1", "f."]);
        assert_eq!(readable("_ZN3foo3barEi.constprop.0"), "foo::bar(int)");
    }

    /// The line of a function's beginning stands behind its name.
    #[test]
    fn lines() {
        assert_eq!(split_line(&with_line("f(int)".to_owned(), 12)), ("f(int)", 12));
        assert_eq!(split_line(&with_line("f".to_owned(), 0)), ("f", 0));
        assert_eq!(split_line("f"), ("f", 0));
    }
}
