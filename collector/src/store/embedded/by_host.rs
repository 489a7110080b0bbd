//! Merging for each of some hosts in one pass over the rows.

use std::collections::HashMap;

use flamekeeper_profile::label;
use foldhash::fast::RandomState;

use super::corrupt;
use super::lexicon::Lexicon;
use super::part::{Part, Question};
use super::row;
use super::scan::resolve;
use super::view::View;
use crate::store::{MergedProfile, Selection, StoreError};

/// See [`crate::store::Store::merged_by_host`].
pub(super) fn merged(
    (view, lexicon): (&View, &Lexicon),
    selection: &Selection,
    hosts: &[&str],
    limit: usize,
) -> Result<Vec<MergedProfile>, StoreError> {
    let question = Question::new(selection.window, &selection.selector, Some(label::HOST), None);
    let places: HashMap<&str, usize> = (0..).zip(hosts).map(|(place, host)| (*host, place)).collect();
    let mut answers = vec![MergedProfile::default(); hosts.len()];
    let mut distinct = 0;
    for part in Part::all(view, question) {
        let mut part = part?;
        let words = part.words.clone();
        let mut found = vec![Vec::new(); hosts.len()];
        for (service, number, sample_type) in part.subjects(|t| t.query_name() == selection.profile_type)? {
            // No tables: those of sixteen hosts would take half a gigabyte where a service has very many stacks.
            let mut sums: Vec<HashMap<u32, u64, RandomState>> = vec![HashMap::default(); hosts.len()];
            part.rows(service, number, |mut row| {
                let Some(place) = places.get(row.labels.get(label::HOST)) else { return Ok(()) };
                let before = sums[*place].len();
                let add = |stack, value: u64| {
                    let sum = sums[*place].entry(stack).or_default();
                    *sum = sum.saturating_add(value);
                };
                row::decode_stacks(&mut row.stacks, add).map_err(corrupt("row"))?;
                distinct += sums[*place].len() - before;
                if distinct > limit { Err(StoreError::TooLarge { limit }) } else { Ok(()) }
            })?;
            for (found, sums) in found.iter_mut().zip(sums) {
                let mut sums: Vec<(u32, u64)> = sums.into_iter().collect();
                sums.sort_unstable();
                found.push((service, sample_type.clone(), sums));
            }
        }
        for (found, answer) in found.iter().zip(&mut answers) {
            resolve((part.slot, &words), (view, lexicon), found, answer)?;
        }
    }
    Ok(answers)
}
