//! The profiles of a message as series.

use std::collections::HashMap;

use flamekeeper_profile::{Labels, SampleType, Series, StackEnd, StackId};
use opentelemetry_proto::tonic::profiles::v1development as otlp;

use super::dictionary::{Dictionary, name_service};
use super::message::Profile;
use super::{DecodeError, check};
use crate::limits::Limits;
use crate::otlp::STACK_END;
use crate::otlp::attributes::{label_of, splits_series};

/// Collects samples into series; profiles of equal labels and type become one.
pub(super) struct SeriesBuilder {
    limits: Limits,
    samples: usize,
    places: HashMap<(Labels, SampleType), usize>,
    /// The samples of each series as they came.
    values: Vec<Vec<(StackId, u64)>>,
}

/// What the attributes of a sample say.
#[derive(Clone, Copy)]
struct Meaning {
    series: usize,
    end: StackEnd,
}

/// The meanings of the sets of attributes in a profile: its samples share few, so each is understood once.
#[derive(Default)]
struct Meanings {
    known: HashMap<Box<[i32]>, Meaning, foldhash::fast::RandomState>,
    /// That of the sample before, which mostly has the same.
    last: Option<(Vec<i32>, Meaning)>,
}

impl SeriesBuilder {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, samples: 0, places: HashMap::new(), values: Vec::new() }
    }

    pub(super) fn profile(
        &mut self,
        dictionary: &mut Dictionary<'_>,
        labels: &Labels,
        profile: &Profile<'_>,
        ours: bool,
    ) -> Result<(), DecodeError> {
        self.samples = self.samples.saturating_add(profile.samples);
        check("samples", self.samples, self.limits.samples)?;
        let sample_type = sample_type(dictionary, profile)?;
        let unstated = if ours { StackEnd::Root } else { StackEnd::Unstated };
        let mut meanings = Meanings::default();
        profile.samples(|sample| {
            let meaning = match &meanings.last {
                Some((attributes, meaning)) if *attributes == sample.attributes => *meaning,
                _ => self.meaning(&mut meanings, dictionary, (labels, &sample_type), (&sample.attributes, unstated))?,
            };
            let stack = dictionary.stack(sample.stack, meaning.end)?;
            self.values[meaning.series].push((stack, sample.value));
            Ok(())
        })
    }

    /// The meaning of a set of attributes that the sample before did not have.
    fn meaning(
        &mut self,
        meanings: &mut Meanings,
        dictionary: &Dictionary<'_>,
        (labels, sample_type): (&Labels, &SampleType),
        (attributes, unstated): (&[i32], StackEnd),
    ) -> Result<Meaning, DecodeError> {
        let meaning = match meanings.known.get(attributes) {
            Some(known) => *known,
            None => {
                let meaning = self.understand(dictionary, labels, sample_type, attributes, unstated)?;
                meanings.known.insert(attributes.into(), meaning);
                meaning
            }
        };
        meanings.last = Some((attributes.to_vec(), meaning));
        Ok(meaning)
    }

    fn understand(
        &mut self,
        dictionary: &Dictionary<'_>,
        labels: &Labels,
        sample_type: &SampleType,
        attributes: &[i32],
        unstated: StackEnd,
    ) -> Result<Meaning, DecodeError> {
        let mut labels = labels.clone();
        let mut end = unstated;
        for index in attributes {
            let (key, value) = dictionary.attribute(*index)?;
            if key == STACK_END {
                end = StackEnd::parse(&value);
            } else if splits_series(key) {
                labels.set(label_of(key), &value);
            }
        }
        name_service(&mut labels);
        let next = self.values.len();
        let series = *self.places.entry((labels, sample_type.clone())).or_insert(next);
        if series == next {
            check("series", next + 1, self.limits.series)?;
            self.values.push(Vec::new());
        }
        Ok(Meaning { series, end })
    }

    /// The series, in the order in which they first appeared, each stack once and in the order of its handle.
    pub(super) fn finish(self) -> Vec<Series> {
        let mut series: Vec<(usize, Series)> = Vec::with_capacity(self.values.len());
        let mut values = self.values;
        for ((labels, sample_type), place) in self.places {
            let values = added_up(std::mem::take(&mut values[place]));
            series.push((place, Series { labels, sample_type, values }));
        }
        series.sort_unstable_by_key(|(place, _)| *place);
        series.into_iter().map(|(_, series)| series).collect()
    }
}

/// Each stack once, in the order of its handle.
fn added_up(mut values: Vec<(StackId, u64)>) -> Vec<(StackId, u64)> {
    values.sort_unstable_by_key(|(stack, _)| *stack);
    values.dedup_by(|(stack, value), (kept, sum)| {
        let same = stack == kept;
        if same {
            *sum = sum.saturating_add(*value);
        }
        same
    });
    values.shrink_to_fit();
    values
}

fn sample_type(dictionary: &Dictionary<'_>, profile: &Profile<'_>) -> Result<SampleType, DecodeError> {
    let read = |value_type: otlp::ValueType| {
        Ok::<_, DecodeError>((dictionary.string(value_type.type_strindex)?.into(), dictionary.string(value_type.unit_strindex)?.into()))
    };
    let (name, unit) = read(profile.sample_type)?;
    let (period_name, period_unit) = read(profile.period_type)?;
    let period = u64::try_from(profile.period).map_err(|_| DecodeError::Rule("a profile has a negative period"))?;
    Ok(SampleType { name, unit, period_name, period_unit, period })
}
