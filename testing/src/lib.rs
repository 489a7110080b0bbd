//! What the end-to-end tests stand on: workload programs whose truth is known, the real programs under test, and a
//! reader of the collector's answers that is independent of the collector's own code.
//!
//! A tool that is missing fails the test with the tool's name; `./dev test` installs them all.

pub mod certificates;
pub mod cgroup;
pub mod cpu_time;
pub mod flamegraph;
pub mod host;
pub mod http;
pub mod licence;
pub mod machine;
pub mod metadata;
pub mod programs;
pub mod scratch;
pub mod setting;
pub mod shares;
pub mod tools;
pub mod workload;
