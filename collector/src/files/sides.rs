//! Two sides of a diff out of files.

use flamekeeper_profile::{BuildId, Svma, Timestamp, UnnamedReason, Window};
use flamekeeper_symbolizer::{Symbolize, Symbolized};

use super::folded::greatest_common_divisor;
use super::{FileError, ProfileFile, Selected};
use crate::query::Generics;
use crate::query::diff::{Diff, Normalization, Shown, SideProfile, Unit};
use crate::render::{DiffSide, Report};
use crate::store::MergedProfile;

/// A file and what it is called.
#[derive(Debug)]
pub struct NamedFile {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub file: ProfileFile,
}

/// What of the files is compared, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileOptions {
    /// The type; by default what the files themselves show first.
    pub profile_type: Option<String>,
    /// What values are divided by; by default seconds where all files say how long they took, else the side's own total.
    pub by: Option<Normalization>,
    /// What a sample weighs in folded text; by default the greatest number that all values of all files are a multiple of. That is never
    /// less than what a sample weighs where all weigh the same, so intervals are rather too wide.
    pub sample_weight: Option<u64>,
    /// Whether generic functions are kept apart.
    pub generics: Generics,
}

/// Why files cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A file cannot be used.
    #[error("{name}: {error}")]
    File {
        /// Its name.
        name: String,
        /// Why.
        error: FileError,
    },
    /// The types differ.
    #[error("{name} has values of the type {found:?}, where another file has {first:?}; name one that all have (--type)")]
    Types {
        /// The file.
        name: String,
        /// Its type.
        found: String,
        /// The first file's.
        first: String,
    },
    /// Nothing can be divided by seconds.
    #[error("not all files say how long they were sampled: compare shares or samples (--by share)")]
    NoSeconds,
    /// Samples of unequal numbers of runs.
    #[error("samples as they are can be compared of as many files on each side, not of {0} and {1}; name as many, or compare --by share")]
    Counts(usize, usize),
    /// Values that are no counts.
    #[error(
        "the values of folded text are {0} on average and have no common divisor, so they are hardly counts of samples; say what a sample weighs (--sample-weight)"
    )]
    Weight(u64),
}

/// A mean value of folded text above which nobody counted samples one by one: a day at 1000 Hz in one stack.
const MOST_SAMPLES: u64 = 86_400_000;
/// The same where all values have no divisor: nanoseconds have means of many millions.
const MOST_WITHOUT_DIVISOR: u64 = 1_000_000;

/// The diff of two lists of files, none of them empty, as a report with all functions that changed.
///
/// # Errors
/// [`CompareError`].
pub fn compared(sides: [Vec<NamedFile>; 2], options: &FileOptions) -> Result<Report, CompareError> {
    let weight = sample_weight(&sides, options.sample_weight)?;
    let mut first: Option<String> = None;
    let mut selected = [Vec::new(), Vec::new()];
    let names = sides.each_ref().map(|files| files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", "));
    for (side, files) in sides.into_iter().enumerate() {
        for NamedFile { name, file } in files {
            let found = file.select(options.profile_type.as_deref(), weight.unwrap_or(1));
            let found = found.map_err(|error| CompareError::File { name: name.clone(), error })?;
            let first = first.get_or_insert_with(|| found.profile_type.clone());
            if *first != found.profile_type {
                return Err(CompareError::Types { name, found: found.profile_type, first: first.clone() });
            }
            selected[side].push(found);
        }
    }
    let timed = selected.iter().flatten().all(|found| found.seconds > 0.0);
    let by = options.by.unwrap_or(if timed { Normalization::Cores } else { Normalization::Share });
    if by == Normalization::Cores && !timed {
        return Err(CompareError::NoSeconds);
    }
    let counts = selected.each_ref().map(Vec::len);
    if by == Normalization::Samples && counts[0] != counts[1] {
        return Err(CompareError::Counts(counts[0], counts[1]));
    }
    let spread = counts.iter().any(|count| *count > 1);
    let [a, b] = selected;
    // Only rates know of time: where runs do the same work, one that took longer (on a busy machine) did not do more.
    let profiles = [side("a", a, by == Normalization::Cores, spread), side("b", b, by == Normalization::Cores, spread)];
    let profile_type = first.unwrap_or_default();
    let shown = Shown { nodes: 1, generics: options.generics, path: Vec::new() };
    let diff = Diff::shown(&profile_type, profiles, by, &Unnamed, &shown);
    let nowhere = Window::new(Timestamp(0), Timestamp(0));
    let sides = names.each_ref().map(|names| DiffSide { window: nowhere, query: names });
    let mut report = Report::of(&diff, &profile_type, sides, usize::MAX);
    report.notes.extend(notes(counts, weight));
    Ok(report)
}

/// What a sample of folded text weighs; none where no file is folded text.
fn sample_weight(sides: &[Vec<NamedFile>; 2], given: Option<u64>) -> Result<Option<u64>, CompareError> {
    let folded = sides.iter().flatten().map(|file| &file.file).filter(|file| file.divisor() > 0);
    let (mut divisor, mut sum, mut stacks) = (0, 0_u64, 0);
    for file in folded {
        divisor = greatest_common_divisor(divisor, file.divisor());
        let (weight, count) = file.folded_sum();
        sum = sum.saturating_add(weight);
        stacks += count;
    }
    if stacks == 0 {
        return Ok(None);
    }
    let mean = sum / stacks;
    match given {
        Some(weight) => Ok(Some(weight.max(1))),
        None if mean / divisor > MOST_SAMPLES || (divisor == 1 && mean > MOST_WITHOUT_DIVISOR) => Err(CompareError::Weight(mean)),
        None => Ok(Some(divisor)),
    }
}

/// One side of its files. Each file is a unit of its own where there are several, since they are what shows how runs spread; each
/// stands as a host of its own, as no run of one side belongs to a run of the other.
fn side(name: &str, files: Vec<Selected>, timed: bool, spread: bool) -> SideProfile {
    let mut side = SideProfile { hosts: files.len(), files: true, ..SideProfile::default() };
    for (number, file) in files.into_iter().enumerate() {
        let seconds = if timed { file.seconds } else { 1.0 };
        side.host_seconds += seconds;
        add(&mut side.merged, &file.merged);
        if spread {
            side.units.push(Unit { host: format!("{name}{number}"), seconds, merged: file.merged });
        }
    }
    side
}

fn add(sum: &mut MergedProfile, file: &MergedProfile) {
    let remap = sum.merged.tables.absorb(&file.merged.tables);
    for (stack, value) in file.merged.values() {
        if let Some(stack) = remap.stack(stack) {
            sum.merged.add_value(stack, value);
        }
    }
    if sum.unit.is_empty() {
        sum.unit.clone_from(&file.unit);
    }
}

fn notes(counts: [usize; 2], weight: Option<u64>) -> Vec<String> {
    let spread = match counts {
        [1, 1] => {
            "One file a side: the intervals hold sampling error only, not how much two runs of the same program differ. Give several files a side (a1 a2 -- b1 b2) to have that in them."
                .to_owned()
        }
        [a, b] => format!("The spread between runs was estimated from {a} and {b} files, and is in the intervals."),
    };
    let weight = weight.map(|weight| match weight {
        1 => "Folded text does not say what a value means: each was taken for a count of samples.".to_owned(),
        weight => format!("Folded text does not say what a sample weighs: {weight} was taken."),
    });
    std::iter::once(spread).chain(weight).collect()
}

/// Names nothing: a file has its names, or none.
#[derive(Debug)]
struct Unnamed;

impl Symbolize for Unnamed {
    fn symbolize(&self, _id: Option<&BuildId>, _path: &str, _address: Svma) -> Symbolized {
        Symbolized::Unknown(UnnamedReason::NoSymbols)
    }
}
