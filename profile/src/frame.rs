//! Frames: what a location is called.

use std::sync::Arc;

/// What runs a frame's code. The names are those of the attribute `profile.frame.type` of the OpenTelemetry semantic
/// conventions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameKind {
    /// Machine code of an object file.
    #[default]
    Native,
    /// The kernel.
    Kernel,
    /// Java and other languages of the JVM.
    Jvm,
    /// Python's interpreter.
    Cpython,
    /// JavaScript in V8.
    V8js,
    /// Go.
    Go,
    /// Ruby.
    Ruby,
    /// PHP, interpreted or compiled.
    Php,
    /// Perl.
    Perl,
    /// .NET.
    Dotnet,
    /// Erlang's virtual machine.
    Beam,
    /// Code that a program generated while running, of a runtime that is not known.
    Jit,
    /// A kind that this version does not know.
    Other,
}

impl FrameKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Native,
        Self::Kernel,
        Self::Jvm,
        Self::Cpython,
        Self::V8js,
        Self::Go,
        Self::Ruby,
        Self::Php,
        Self::Perl,
        Self::Dotnet,
        Self::Beam,
        Self::Jit,
        Self::Other,
    ];

    /// The kind's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Kernel => "kernel",
            Self::Jvm => "jvm",
            Self::Cpython => "cpython",
            Self::V8js => "v8js",
            Self::Go => "go",
            Self::Ruby => "ruby",
            Self::Php => "php",
            Self::Perl => "perl",
            Self::Dotnet => "dotnet",
            Self::Beam => "beam",
            Self::Jit => "jit",
            Self::Other => "other",
        }
    }

    /// The kind of a name; [`Self::Other`] for one that is not known.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).unwrap_or(Self::Other)
    }

    /// A code that never changes, for storage.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind of a stored code; [`Self::Other`] for one that is not known.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Other)
    }
}

/// Why a location has no name. A frame without a name is shown as `module+0xaddress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnnamedReason {
    /// The object has no identity to look symbols up by.
    NoBuildId,
    /// No symbols for this object have arrived yet.
    NoSymbols,
    /// The object's symbols are there and name nothing at this address.
    NotCovered,
    /// The object's symbols could not be read.
    BadSymbols,
    /// The address lies in no known mapping.
    NoMapping,
}

impl UnnamedReason {
    /// The name: in answers, and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoBuildId => "no_build_id",
            Self::NoSymbols => "no_symbols",
            Self::NotCovered => "not_covered",
            Self::BadSymbols => "bad_symbols",
            Self::NoMapping => "no_mapping",
        }
    }
}

/// A symbolized function at a line: what a flamegraph draws.
///
/// Frames that differ in their line only are the same function: [`super::CallTreeBuilder`] merges by name, module, kind and
/// `inlined`, and keeps the first file and line it saw. Its texts are shared: a profile has far more frames than names and files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    /// The demangled name, or `module+0xaddress` where there is none.
    pub name: Arc<str>,
    /// Path of the object, or the runtime's own idea of a module; empty where unknown.
    pub module: Arc<str>,
    /// Source file; empty where unknown.
    pub file: Arc<str>,
    /// Line in that file, from 1; 0 where unknown.
    pub line: u32,
    /// The line that the function begins at, from 1; 0 where unknown.
    pub start_line: u32,
    /// What runs it.
    pub kind: FrameKind,
    /// Whether the compiler inlined it into the frame that calls it.
    pub inlined: bool,
    /// Why it has no name, where it has none.
    pub unnamed: Option<UnnamedReason>,
}

impl Frame {
    /// A frame that is no function: a tree's root, or what says how a stack ends. It is drawn and stands in folded text, but is no
    /// function in a table.
    #[must_use]
    pub fn marker(text: &str) -> Self {
        let empty: Arc<str> = Arc::from("");
        Self {
            name: text.into(),
            module: Arc::clone(&empty),
            file: empty,
            line: 0,
            start_line: 0,
            kind: FrameKind::Other,
            inlined: false,
            unnamed: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and codes read back as what they were, and the unknown is `other`.
    #[test]
    fn kinds_round_trip() {
        for kind in FrameKind::ALL {
            assert_eq!(FrameKind::parse(kind.as_str()), kind);
            assert_eq!(FrameKind::from_code(kind.code()), kind);
        }
        assert_eq!(FrameKind::parse("cobol"), FrameKind::Other);
        assert_eq!(FrameKind::from_code(250), FrameKind::Other);
    }
}
