//! Functions that are the same under another name: renamed, moved to another module, or inlined elsewhere.

use std::collections::{BTreeMap, BTreeSet};

/// A function that one side has and the other lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Number of the function.
    pub function: u32,
    /// Its name.
    pub name: Box<str>,
    /// Names of its callers.
    pub callers: BTreeSet<Box<str>>,
    /// Names of what it calls.
    pub callees: BTreeSet<Box<str>>,
}

/// The share of neighbours that must be common to be called the same.
const LEAST_ALIKE: f64 = 0.75;
/// Candidates of one caller that are compared with each other.
const MOST_COMPARED: usize = 64;

/// For functions that are new in B the one of A that they were: first by equal name (another module or kind), then by the same callers
/// and callees, where exactly one fits best. Pairs of the numbers of B and A.
#[must_use]
pub fn moved(gone: &[Candidate], new: &[Candidate]) -> Vec<(u32, u32)> {
    let mut pairs = Vec::new();
    let mut taken: BTreeSet<u32> = BTreeSet::new();
    let by_name: BTreeMap<&str, &Candidate> = gone.iter().map(|candidate| (&*candidate.name, candidate)).collect();
    let (named, others): (Vec<&Candidate>, Vec<&Candidate>) = new.iter().partition(|candidate| by_name.contains_key(&*candidate.name));
    for candidate in named {
        let old = by_name[&*candidate.name].function;
        if taken.insert(old) {
            pairs.push((candidate.function, old));
        }
    }
    let mut by_caller: BTreeMap<&str, Vec<&Candidate>> = BTreeMap::new();
    for candidate in gone {
        candidate.callers.iter().for_each(|caller| by_caller.entry(caller).or_default().push(candidate));
    }
    for candidate in others {
        if let Some(old) = most_alike(candidate, &by_caller, &taken) {
            taken.insert(old);
            pairs.push((candidate.function, old));
        }
    }
    pairs
}

fn most_alike(new: &Candidate, by_caller: &BTreeMap<&str, Vec<&Candidate>>, taken: &BTreeSet<u32>) -> Option<u32> {
    let known = new.callers.iter().filter_map(|caller| by_caller.get(&**caller));
    let compared = known.flat_map(|candidates| candidates.iter().take(MOST_COMPARED)).filter(|old| !taken.contains(&old.function));
    let mut alike: BTreeMap<u32, f64> = BTreeMap::new();
    for old in compared {
        let share = f64::min(common(&new.callers, &old.callers), common(&new.callees, &old.callees));
        if share >= LEAST_ALIKE {
            alike.insert(old.function, share);
        }
    }
    let best = alike.values().copied().fold(0.0, f64::max);
    let mut fitting = alike.into_iter().filter(|(_, share)| *share >= best).map(|(function, _)| function);
    fitting.next().filter(|_| fitting.next().is_none())
}

/// Jaccard's index; two empty sets are alike.
fn common(a: &BTreeSet<Box<str>>, b: &BTreeSet<Box<str>>) -> f64 {
    let (both, either) = (a.intersection(b).count(), a.union(b).count());
    #[allow(clippy::cast_precision_loss)] // Neighbours are few.
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(function: u32, name: &str, callers: &[&str], callees: &[&str]) -> Candidate {
        let set = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect();
        Candidate { function, name: name.into(), callers: set(callers), callees: set(callees) }
    }

    /// By name first, then by neighbours; two that fit equally are not guessed at.
    #[test]
    fn by_name_then_by_neighbours() {
        let gone = [
            candidate(1, "parse", &["main"], &["next"]),
            candidate(2, "render_v1", &["main"], &["draw", "layout"]),
            candidate(3, "leaf_a", &["loop"], &[]),
            candidate(4, "leaf_b", &["loop"], &[]),
        ];
        let new = [
            candidate(11, "parse", &["other"], &[]),
            candidate(12, "render_v2", &["main"], &["draw", "layout"]),
            candidate(13, "leaf_c", &["loop"], &[]),
            candidate(14, "fresh", &["nobody"], &["x"]),
        ];
        assert_eq!(moved(&gone, &new), [(11, 1), (12, 2)]);
    }
}
