//! Addresses, one type per address space, so that they cannot be mixed up.

use std::fmt;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

address! {
    /// An actual virtual memory address: where something is in the memory of a running process (or of the kernel).
    Avma
}

address! {
    /// A stated virtual memory address: the address that the object file itself states (`p_vaddr`, `st_value`).
    /// It means the same in every process that maps the file, and is what a profile stores.
    Svma
}

address! {
    /// A byte offset in a file.
    FileOffset
}
