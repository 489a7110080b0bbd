//! The program that libFuzzer drives: `FUZZ_TARGET` names the target. Built and run by `./dev fuzz`.

#![no_main]

use std::sync::LazyLock;

use flamekeeper_fuzz::{TARGETS, Target, find};
use libfuzzer_sys::fuzz_target;

/// The target that the environment names.
static CHOSEN: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    find(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name:?} is none of {:?}", TARGETS.map(|target| target.name)))
});

fuzz_target!(|bytes: &[u8]| {
    (CHOSEN.run)(bytes);
});
