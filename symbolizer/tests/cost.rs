//! What a lookup costs; run by hand: `cargo test --release --workspace --test cost -- --ignored --nocapture`.
#![cfg(feature = "convert")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod programs;

use std::time::Instant;

use flamekeeper_object::ObjectFile;
use flamekeeper_profile::Svma;
use flamekeeper_symbolizer::{SymbolLimits, SymbolStore, Symbolized, kernel::KernelSymbols};

/// Median over rounds of lookups at random addresses of a Rust program, inlined functions included.
#[test]
#[ignore = "a measurement"]
fn lookups() {
    let program = programs::build_rust("cost", &["-O", "-g"]);
    let elf = std::fs::read(&program).unwrap();
    let object = ObjectFile::open(&program).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = SymbolStore::open(directory.path(), SymbolLimits::default()).unwrap();
    let started = Instant::now();
    store.add(object.identity(), &elf).unwrap();
    println!("converted {} bytes into {} in {:?}", elf.len(), store.bytes(), started.elapsed());
    let text = object.segments().iter().find(|segment| segment.executable).unwrap();
    let mut state = 1_u64;
    let addresses = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Svma(text.svma.0 + (state >> 20) % text.memory_size)
    });
    let addresses: Vec<Svma> = addresses.take(10_000).collect();
    let mut rounds: Vec<_> = (0..21).map(|_| round(&store, &object, &addresses)).collect();
    rounds.sort_unstable_by_key(|round| round.0);
    let (nanoseconds, frames) = rounds[10];
    println!("{} ns a lookup, {:.2} frames each", nanoseconds / 10_000, frames as f64 / 10_000.0);
}

fn round(store: &SymbolStore, object: &ObjectFile, addresses: &[Svma]) -> (u128, usize) {
    let started = Instant::now();
    let frames = addresses.iter().map(|address| match store.symbolize(object.identity(), *address) {
        Symbolized::Frames(frames) => frames.len(),
        Symbolized::Unknown(_) => 0,
    });
    let frames = frames.sum();
    (started.elapsed().as_nanos(), frames)
}

/// Reading the kernel's symbols, and their memory.
#[test]
#[ignore = "a measurement"]
fn kernel() {
    let started = Instant::now();
    let symbols = KernelSymbols::read().unwrap();
    println!("{} kernel functions in {:?}, {} bytes", symbols.len(), started.elapsed(), symbols.memory());
}
