//! Functions by what they cost.

use std::collections::HashMap;

use flamekeeper_profile::{Frame, FrameKind};

use super::profile::SymbolizedProfile;

/// A function and what it adds up to over all stacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Name, module, kind, and the first file and line that were seen of it. A function that was inlined here and called
    /// there is one function; `inlined` then says what was seen first.
    pub frame: Frame,
    /// The weight of stacks whose leaf it is.
    pub self_value: u64,
    /// The weight of stacks that it stands in, each counted once however often the function recurs.
    pub total: u64,
}

impl SymbolizedProfile {
    /// All functions, by self, then by total, then by name. Markers of how stacks end are no functions.
    #[must_use]
    pub fn top(&self) -> Vec<Function> {
        let (group_of, mut groups) = self.groups();
        // The number of the stack that a group was counted in last; 0 for none yet.
        let mut counted_in = vec![0_usize; groups.len()];
        for (number, (stack, value)) in self.stacks.iter().enumerate() {
            let (locations, _) = self.stack(*stack);
            let functions = locations.iter().flat_map(|location| self.names.location_functions(*location));
            for (place, function) in functions.enumerate() {
                let group = group_of[*function as usize];
                if place == 0 {
                    groups[group].self_value = groups[group].self_value.saturating_add(value.weight);
                }
                if counted_in[group] != number + 1 {
                    counted_in[group] = number + 1;
                    groups[group].total = groups[group].total.saturating_add(value.weight);
                }
            }
        }
        groups.retain(|function| function.total > 0);
        groups.sort_by(|a, b| {
            let by_value = (b.self_value, b.total).cmp(&(a.self_value, a.total));
            by_value.then_with(|| (&a.frame.name, &a.frame.module).cmp(&(&b.frame.name, &b.frame.module)))
        });
        groups
    }

    /// For each function of the names the place of its group, and the groups: functions whether inlined or not.
    pub(super) fn groups(&self) -> (Vec<usize>, Vec<Function>) {
        let mut places: HashMap<(&str, &str, FrameKind), usize> = HashMap::new();
        let mut groups = Vec::new();
        let group_of = self.names.functions().map(|frame| {
            *places.entry((&frame.name, &frame.module, frame.kind)).or_insert_with(|| {
                groups.push(Function { frame: frame.clone(), self_value: 0, total: 0 });
                groups.len() - 1
            })
        });
        (group_of.collect(), groups)
    }
}
