//! What programs of one executable, one parent and one cgroup have said of themselves, for those of them that nobody could
//! ask.
//!
//! The kernel leaves a random gap of up to two pages below the texts at the top of a stack (`arch_align_stack`). Where no
//! page of the gap was ever touched, a copy of the stack ends there, and the environment of a program that is dead stays
//! unknown, while others of the same kind had theirs read. Programs of one kind that have said different things speak for
//! nobody else.

use std::collections::HashMap;
use std::sync::Arc;

use super::environ::Declared;

/// Parents to remember.
const MAX_PARENTS: usize = 1024;
/// Executables to remember of one parent in one cgroup.
const MAX_PROGRAMS: usize = 64;
/// Windows after which a parent of which nothing was heard is forgotten.
const FORGET_AFTER: u64 = 30;

/// Who made a program, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    /// The parent's generation.
    pub(crate) parent: u64,
    /// The cgroup, where it is known.
    pub(super) cgroup: Option<u64>,
}

#[derive(Debug)]
enum Said {
    One(Arc<Declared>),
    Several,
}

#[derive(Debug, Default)]
struct Family {
    programs: HashMap<Box<str>, Said>,
    used: u64,
}

/// What was said, by kind and executable.
#[derive(Debug, Default)]
pub(super) struct Siblings {
    families: HashMap<Kind, Family, foldhash::fast::RandomState>,
    round: u64,
}

impl Siblings {
    /// A program has said something.
    pub(super) fn note(&mut self, kind: Kind, exe: &str, declared: &Arc<Declared>) {
        if !self.families.contains_key(&kind) && self.families.len() >= MAX_PARENTS {
            return;
        }
        let family = self.families.entry(kind).or_default();
        family.used = self.round;
        let full = family.programs.len() >= MAX_PROGRAMS;
        match family.programs.get_mut(exe) {
            Some(Said::One(known)) if known != declared => {
                family.programs.insert(exe.into(), Said::Several);
            }
            Some(Said::One(_) | Said::Several) => {}
            None if !full => {
                family.programs.insert(exe.into(), Said::One(Arc::clone(declared)));
            }
            None => {}
        }
    }

    /// What all programs of this kind have said; none where they have said nothing or different things.
    pub(super) fn said(&self, kind: Kind, exe: &str) -> Option<&Arc<Declared>> {
        match self.families.get(&kind)?.programs.get(exe)? {
            Said::One(declared) => Some(declared),
            Said::Several => None,
        }
    }

    /// Ends a window.
    pub(super) fn sweep(&mut self) {
        self.round += 1;
        let round = self.round;
        self.families.retain(|_, family| family.used + FORGET_AFTER > round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(service: &str) -> Arc<Declared> {
        Arc::new(Declared { service: Some(service.to_owned()), ..Declared::default() })
    }

    /// Siblings speak for each other as long as they agree; others do not.
    #[test]
    fn speaks_for_its_kind() {
        let mut siblings = Siblings::default();
        let kind = Kind { parent: 7, cgroup: Some(1) };
        siblings.note(kind, "/bin/job", &named("job"));
        siblings.note(kind, "/bin/job", &named("job"));
        let said = |siblings: &Siblings, kind, exe: &str| siblings.said(kind, exe).and_then(|said| said.service.clone());
        assert_eq!(said(&siblings, kind, "/bin/job").as_deref(), Some("job"));
        for other in [Kind { parent: 8, ..kind }, Kind { cgroup: Some(2), ..kind }] {
            assert_eq!(said(&siblings, other, "/bin/job"), None);
        }
        assert_eq!(said(&siblings, kind, "/bin/other"), None);
        siblings.note(kind, "/bin/job", &named("another"));
        siblings.note(kind, "/bin/job", &named("job"));
        assert_eq!(said(&siblings, kind, "/bin/job"), None);
    }

    /// There is a limit of parents, and those of which nothing is heard are forgotten.
    #[test]
    fn memory_is_bounded() {
        let mut siblings = Siblings::default();
        for parent in 0..10_000 {
            siblings.note(Kind { parent, cgroup: None }, "/bin/job", &named("job"));
        }
        assert_eq!(siblings.families.len(), MAX_PARENTS);
        (0..FORGET_AFTER).for_each(|_| siblings.sweep());
        assert!(siblings.families.is_empty());
    }
}
