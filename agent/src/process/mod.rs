//! The processes of the host: what they are, and what is mapped where.

pub(crate) mod file;
pub(crate) mod maps;
pub(crate) mod perf_map;
pub(crate) mod scan;
pub(crate) mod table;
