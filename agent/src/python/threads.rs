//! The threads of an interpreter, found from `_PyRuntime`. Pure: memory is read through a closure. The process runs
//! meanwhile, so a list may be torn: lengths are bounded, and a thread is believed only if it names the interpreter that
//! lists it.

use crate::python::code::{Read, word};
use crate::python::offsets::ThreadLayout;

/// Interpreters of a process that are looked at.
const MAX_INTERPRETERS: usize = 64;
/// Threads of a process that are looked at.
pub const MAX_THREADS: usize = 4096;

/// A thread of an interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Address of its `PyThreadState`.
    pub state: u64,
    /// Its id in the innermost pid namespace of its process.
    pub native_id: u64,
}

/// Lists the threads of all interpreters; what cannot be read is left out.
#[must_use]
pub fn list(runtime: u64, layout: &ThreadLayout, read: &mut Read<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let mut pointer = |at: u64| {
        let mut bytes = [0; 8];
        read(at, &mut bytes)?;
        word(&bytes, 0)
    };
    let mut interpreter = pointer(runtime.wrapping_add(layout.interpreters)).unwrap_or_default();
    for _ in 0..MAX_INTERPRETERS {
        if interpreter == 0 {
            break;
        }
        let mut state = pointer(interpreter.wrapping_add(layout.threads)).unwrap_or_default();
        // Counted by step, not by what was found: a thread may be its own next, and its id lie in memory that is not there.
        for _ in 0..MAX_THREADS {
            if state == 0 || found.len() >= MAX_THREADS {
                break;
            }
            if pointer(state.wrapping_add(layout.interpreter)) != Some(interpreter) {
                break;
            }
            if let Some(native_id) = pointer(state.wrapping_add(layout.native_id)) {
                found.push(Found { state, native_id });
            }
            state = pointer(state.wrapping_add(layout.next_thread)).unwrap_or_default();
        }
        interpreter = pointer(interpreter.wrapping_add(layout.next_interpreter)).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const LAYOUT: ThreadLayout =
        ThreadLayout { interpreters: 40, next_interpreter: 0, threads: 16, next_thread: 8, interpreter: 16, native_id: 160 };

    fn found(memory: &[(u64, u64)]) -> Vec<Found> {
        let memory: HashMap<u64, u64> = memory.iter().copied().collect();
        list(0x1000, &LAYOUT, &mut |at, bytes| {
            bytes.copy_from_slice(&memory.get(&at)?.to_ne_bytes());
            Some(())
        })
    }

    /// Two interpreters with three threads are found; one that names another interpreter is not believed.
    #[test]
    fn walks_interpreters_and_threads() {
        let thread = |at: u64, interpreter, id, next| [(at + 16, interpreter), (at + 160, id), (at + 8, next)];
        let mut memory = vec![(0x1028, 0x2000), (0x2010, 0x5000), (0x2000, 0x3000), (0x3010, 0x7000), (0x3000, 0)];
        memory.extend(thread(0x5000, 0x2000, 11, 0x6000));
        memory.extend(thread(0x6000, 0x2000, 12, 0));
        memory.extend(thread(0x7000, 0x3000, 13, 0x8000));
        memory.extend(thread(0x8000, 0x9999, 14, 0));
        let ids: Vec<u64> = found(&memory).iter().map(|found| found.native_id).collect();
        assert_eq!(ids, [11, 12, 13]);
    }

    /// Lists that lead in a circle end.
    #[test]
    fn circles_end() {
        let memory = [(0x1028, 0x2000), (0x2000, 0x2000), (0x2010, 0x5000), (0x5010, 0x2000), (0x50a0, 7), (0x5008, 0x5000)];
        assert_eq!(found(&memory).len(), MAX_THREADS);
        assert!(found(&[]).is_empty());
    }
}
