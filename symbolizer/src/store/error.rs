//! Why the store refuses, and what it says of what it took.

use flamekeeper_object::{BundleError, ObjectError, SymbolsPresent};
use flamekeeper_profile::BuildId;

use crate::convert::ConvertError;

/// A store that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path} for symbols: {error}")]
pub struct OpenStoreError {
    pub(super) path: String,
    pub(super) error: std::io::Error,
}

/// What became of an object that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// Its symbols are stored now.
    Stored,
    /// Symbols as good or better were there already.
    AlreadyThere,
}

/// What the store has of an object after it was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// Its build id.
    pub id: BuildId,
    /// What became of it.
    pub added: Added,
    /// What its stored symbols were made from: from this object, or where better ones were there, from those.
    pub source: SymbolsPresent,
    /// What was there before.
    pub replaced: Option<SymbolsPresent>,
    /// Bytes of the symbol file.
    pub bytes: u64,
}

/// An object that could not be added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// It is no ELF file.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// It begins as a bundle of files and is none.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It states another build id.
    #[error("the object's build id is {found}, not {expected}")]
    OtherBuildId {
        /// The one that it was sent as.
        expected: BuildId,
        /// The one that it states.
        found: BuildId,
    },
    /// Its symbols cannot be converted.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The store has no room for it, even if it held nothing else.
    #[error("the object's symbols take {bytes} bytes, more than the symbol store's limit of {limit}; raise its limit")]
    Full {
        /// Bytes of its symbol file.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Its symbol file could not be written.
    #[error("cannot write symbols: {0}")]
    Write(#[from] std::io::Error),
}

impl AddError {
    /// Whether adding the same object again cannot succeed: the fault is the object's, not the store's.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Object(_) | Self::Bundle(_) | Self::OtherBuildId { .. } => true,
            Self::Full { .. } | Self::Write(_) => false,
            Self::Convert(error) => error.is_final(),
        }
    }

    /// What failures are counted by.
    #[must_use]
    pub const fn reason(&self) -> FailureReason {
        match self {
            Self::Object(_) | Self::Bundle(_) => FailureReason::NotAnObject,
            Self::OtherBuildId { .. } => FailureReason::OtherBuildId,
            Self::Full { .. } => FailureReason::StoreFull,
            Self::Write(_) => FailureReason::Write,
            Self::Convert(error) => FailureReason::of(error),
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why an object was not added, as it is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FailureReason { $($(#[$doc])* $name,)* }

        impl FailureReason {
            /// All of them, in the order of their places.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name: in the API, and in logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// It is no ELF file.
    NotAnObject = "not_an_object",
    /// It states another build id than it was sent as.
    OtherBuildId = "other_build_id",
    /// It is larger than the limit.
    TooLarge = "too_large",
    /// It has no symbols.
    NoSymbols = "no_symbols",
    /// Its symbols cannot be read.
    Unreadable = "unreadable",
    /// Converting it takes more memory than the limit.
    Memory = "memory_limit",
    /// Converting it takes more CPU time than the limit.
    CpuTime = "cpu_limit",
    /// Its symbol file is larger than the limit.
    OutputSize = "output_limit",
    /// Its conversion did not end in time.
    WallTime = "time_limit",
    /// The converter was killed by somebody else.
    Killed = "killed",
    /// The converter crashed on it.
    Crashed = "crashed",
    /// The converter could not be started.
    NotStarted = "not_started",
    /// It is larger than the whole store may be.
    StoreFull = "store_full",
    /// Its symbol file could not be written.
    Write = "write",
}

impl FailureReason {
    const fn of(error: &ConvertError) -> Self {
        use crate::child::ChildError;
        match error {
            ConvertError::Object(_) | ConvertError::Bundle(_) => Self::NotAnObject,
            ConvertError::TooLarge { .. } => Self::TooLarge,
            ConvertError::NoSymbols => Self::NoSymbols,
            ConvertError::Unreadable(_) => Self::Unreadable,
            ConvertError::Thread(_) | ConvertError::Child(ChildError::Start { .. } | ChildError::Setup(_)) => Self::NotStarted,
            ConvertError::Child(ChildError::Memory(_)) => Self::Memory,
            ConvertError::Child(ChildError::Cpu(_)) => Self::CpuTime,
            ConvertError::Child(ChildError::Output(_)) => Self::OutputSize,
            ConvertError::Child(ChildError::Wall(_)) => Self::WallTime,
            ConvertError::Child(ChildError::Killed) => Self::Killed,
            ConvertError::Child(ChildError::Crashed(_)) => Self::Crashed,
        }
    }
}
