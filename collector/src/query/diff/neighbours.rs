//! Callers and callees of functions that only one side has.

use std::collections::{BTreeMap, BTreeSet};

use flamekeeper_profile::diff::{Candidate, moved};

/// Pairs of a function of B and the one of A that it was. `paths` are stacks of groups, root first; `only` says which groups one side alone
/// has, and which.
pub(super) fn renamed(names: &[&str], only: &[Option<usize>], paths: &[(Box<[u32]>, [u64; 2])]) -> Vec<(u32, u32)> {
    let mut found: BTreeMap<u32, (BTreeSet<u32>, BTreeSet<u32>)> = BTreeMap::new();
    for (path, _) in paths {
        for (place, function) in path.iter().enumerate() {
            if only[*function as usize].is_none() {
                continue;
            }
            let (callers, callees) = found.entry(*function).or_default();
            if place > 0 {
                callers.insert(path[place - 1]);
            }
            callees.extend(path.get(place + 1));
        }
    }
    let name = |function: &u32| -> Box<str> { names[*function as usize].into() };
    let mut sides = [Vec::new(), Vec::new()];
    for (function, (callers, callees)) in &found {
        // A function that calls itself is no neighbour of its own: its name differs between the sides.
        let others = |set: &BTreeSet<u32>| set.iter().filter(|other| *other != function).map(name).collect();
        let candidate = Candidate { function: *function, name: name(function), callers: others(callers), callees: others(callees) };
        if let Some(side) = only[*function as usize] {
            sides[side].push(candidate);
        }
    }
    moved(&sides[0], &sides[1])
}
