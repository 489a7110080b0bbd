//! The processes of the host: what they are, and what is mapped where.

pub(crate) mod bound;
pub(crate) mod file;
pub(crate) mod lines;
pub(crate) mod maps;
pub(crate) mod program;
pub(crate) mod scan;
pub(crate) mod stacks;
pub(crate) mod table;
pub(crate) mod threads;
pub(crate) mod users;
