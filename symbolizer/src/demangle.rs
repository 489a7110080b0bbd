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
        if let Some(name) = demangle(without_cold(&function.name)) {
            function.name = Cow::Owned(name);
        } else {
            let len = without_cold(&function.name).len();
            function.name = truncated(function.name, len);
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

fn truncated(name: Cow<'_, str>, len: usize) -> Cow<'_, str> {
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(name.get(..len).unwrap_or(name)),
        Cow::Owned(mut name) => {
            name.truncate(len);
            Cow::Owned(name)
        }
    }
}

/// The function that a compiler moved an unlikely part out of (`foo.cold`, `foo.cold.12`): it is the same function, and its
/// debug information says so too.
fn without_cold(name: &str) -> &str {
    let digits = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let unnumbered = digits.strip_suffix('.').filter(|_| digits.len() < name.len()).unwrap_or(name);
    unnumbered.strip_suffix(".cold").filter(|name| !name.is_empty()).unwrap_or(name)
}

/// None where the name is not mangled, or in a way that is not known.
pub(crate) fn demangle(name: &str) -> Option<String> {
    let mangled = (name.starts_with("_Z") || name.starts_with("_R") || name.starts_with("__Z")) && name.len() <= MAX_MANGLED;
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
        assert_eq!(["f.cold", "f.cold.7", "f.7", ".cold", "f"].map(without_cold), ["f", "f", "f.7", ".cold", "f"]);
        assert_eq!(demangle("main"), None);
        assert_eq!(demangle("_Z"), None);
    }
}
