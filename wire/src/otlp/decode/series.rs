//! The profiles of a message as series.

use std::collections::HashMap;

use flamekeeper_profile::{Labels, SampleType, Series, StackEnd, StackId};
use opentelemetry_proto::tonic::profiles::v1development as otlp;

use super::dictionary::{Dictionary, name_service};
use super::{DecodeError, check, sample_value};
use crate::limits::Limits;
use crate::otlp::STACK_END;
use crate::otlp::attributes::{label_of, splits_series};

type Values = HashMap<StackId, u64, foldhash::fast::RandomState>;

/// Collects samples into series; profiles of equal labels and type become one.
pub(super) struct SeriesBuilder {
    limits: Limits,
    samples: usize,
    places: HashMap<(Labels, SampleType), usize>,
    values: Vec<Values>,
}

/// What the attributes of a sample say.
struct Meaning {
    series: usize,
    end: StackEnd,
}

impl SeriesBuilder {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, samples: 0, places: HashMap::new(), values: Vec::new() }
    }

    pub(super) fn profile(
        &mut self,
        dictionary: &mut Dictionary<'_>,
        labels: &Labels,
        profile: &otlp::Profile,
        ours: bool,
    ) -> Result<(), DecodeError> {
        self.samples = self.samples.saturating_add(profile.samples.len());
        check("samples", self.samples, self.limits.samples)?;
        let sample_type = sample_type(dictionary, profile)?;
        // Samples of one profile share few distinct sets of attributes, so each set is understood once.
        let mut meanings: HashMap<&[i32], Meaning> = HashMap::new();
        for sample in &profile.samples {
            let attributes = &*sample.attribute_indices;
            if !meanings.contains_key(attributes) {
                let unstated = if ours { StackEnd::Root } else { StackEnd::Unstated };
                let meaning = self.understand(dictionary, labels, &sample_type, attributes, unstated)?;
                meanings.insert(attributes, meaning);
            }
            let meaning = &meanings[attributes];
            let stack = dictionary.stack(sample.stack_index, meaning.end)?;
            let sum = self.values[meaning.series].entry(stack).or_default();
            *sum = sum.saturating_add(sample_value(sample)?);
        }
        Ok(())
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
            self.values.push(Values::default());
        }
        Ok(Meaning { series, end })
    }

    /// The series, in the order in which they first appeared, each stack once and in the order of its handle.
    pub(super) fn finish(self) -> Vec<Series> {
        let mut series: Vec<(usize, Series)> = Vec::with_capacity(self.values.len());
        let mut values = self.values;
        for ((labels, sample_type), place) in self.places {
            let mut values: Vec<_> = std::mem::take(&mut values[place]).into_iter().collect();
            values.sort_unstable();
            series.push((place, Series { labels, sample_type, values }));
        }
        series.sort_unstable_by_key(|(place, _)| *place);
        series.into_iter().map(|(_, series)| series).collect()
    }
}

fn sample_type(dictionary: &Dictionary<'_>, profile: &otlp::Profile) -> Result<SampleType, DecodeError> {
    let read = |value_type: Option<otlp::ValueType>| {
        let value_type = value_type.unwrap_or_default();
        Ok::<_, DecodeError>((dictionary.string(value_type.type_strindex)?.into(), dictionary.string(value_type.unit_strindex)?.into()))
    };
    let (name, unit) = read(profile.sample_type)?;
    let (period_name, period_unit) = read(profile.period_type)?;
    let period = u64::try_from(profile.period).map_err(|_| DecodeError::Rule("a profile has a negative period"))?;
    Ok(SampleType { name, unit, period_name, period_unit, period })
}
