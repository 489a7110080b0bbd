//! From the message to a batch: every index checked, every size limited.

mod census;
mod dictionary;
mod series;

use flamekeeper_profile::{AgentFigures, Batch, Figure, Labels, Ledger, Timestamp, Window, label};
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::profiles::v1development as otlp;
use prost::Message;

use self::dictionary::Dictionary;
use self::series::SeriesBuilder;
use super::{AGENT_FIGURE, LEDGER_ENTRY, LEDGER_SCOPE, LEDGER_TAKEN, SCOPE};
use crate::limits::Limits;

/// Why a body is no batch.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is no protobuf message of the right type.
    #[error("the body is not an OTLP profiles request: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A reference points outside its table.
    #[error("index {index} points outside the {table} table of {len} entries")]
    Index {
        /// The table.
        table: &'static str,
        /// The index.
        index: i64,
        /// Entries in the table.
        len: usize,
    },
    /// A limit is exceeded.
    #[error("the batch has {found} {what}, the limit is {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much is allowed.
        limit: usize,
    },
    /// A rule of the format is broken.
    #[error("{0}")]
    Rule(&'static str),
}

/// Decodes an `ExportProfilesServiceRequest`, of a Flamekeeper agent or of any other OTLP sender.
///
/// A sender that states no ledger is taken to have lost nothing: its `taken` is what the batch holds.
///
/// # Errors
/// [`DecodeError`] names the broken rule; nothing of the body is used then.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Batch, DecodeError> {
    check("bytes", bytes.len(), limits.decompressed_bytes)?;
    census::check_messages(bytes, limits.messages)?;
    let request = ExportProfilesServiceRequest::decode(bytes)?;
    let message = request.dictionary.unwrap_or_default();
    let mut dictionary = Dictionary::new(&message, limits)?;
    let mut builder = SeriesBuilder::new(*limits);
    let mut span = Span::default();
    let (mut ledger, mut figures) = (None, AgentFigures::default());
    let mut sender = Labels::new();
    for resource in &request.resource_profiles {
        let attributes = resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        let labels = dictionary.labels(attributes)?;
        for scope in &resource.scope_profiles {
            let name = scope.scope.as_ref().map_or("", |scope| &scope.name);
            if name == LEDGER_SCOPE {
                for profile in &scope.profiles {
                    span.cover(profile);
                    read_ledger(ledger.get_or_insert_default(), &mut figures, &dictionary, profile)?;
                }
                sender = labels.clone();
                continue;
            }
            for profile in &scope.profiles {
                span.cover(profile);
                builder.profile(&mut dictionary, &labels, profile, name == SCOPE)?;
            }
            if sender.is_empty() {
                sender = Labels::new().with(label::HOST, labels.get(label::HOST));
            }
        }
    }
    let (series, tables) = (builder.finish(), dictionary.into_tables());
    let mut batch = Batch { window: span.window(), labels: sender, series, tables, ledger: Ledger::new(), figures };
    batch.ledger = ledger.unwrap_or_else(|| {
        let mut ledger = Ledger::new();
        ledger.take(batch.samples());
        ledger
    });
    Ok(batch)
}

fn check(what: &'static str, found: usize, limit: usize) -> Result<(), DecodeError> {
    if found > limit { Err(DecodeError::Limit { what, found, limit }) } else { Ok(()) }
}

fn read_ledger(
    ledger: &mut Ledger,
    figures: &mut AgentFigures,
    dictionary: &Dictionary<'_>,
    profile: &otlp::Profile,
) -> Result<(), DecodeError> {
    for sample in &profile.samples {
        let count = sample_value(sample)?;
        for index in &sample.attribute_indices {
            let (key, value) = dictionary.attribute(*index)?;
            match (key, &*value) {
                (LEDGER_ENTRY, LEDGER_TAKEN) => ledger.take(count),
                (LEDGER_ENTRY, name) => ledger.add_entry(name, count),
                (AGENT_FIGURE, name) => Figure::parse(name).into_iter().for_each(|figure| figures.set(figure, count)),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The value of a sample: the sum of its values, or one for each timestamp where it has no values.
fn sample_value(sample: &otlp::Sample) -> Result<u64, DecodeError> {
    match (&*sample.values, &*sample.timestamps_unix_nano) {
        ([], []) => Err(DecodeError::Rule("a sample has neither values nor timestamps")),
        ([], timestamps) => Ok(timestamps.len() as u64),
        (values, _) => values.iter().try_fold(0_u64, |sum, value| {
            let value = u64::try_from(*value).map_err(|_| DecodeError::Rule("a sample has a negative value"))?;
            Ok(sum.saturating_add(value))
        }),
    }
}

/// The window that all profiles of a request lie in.
#[derive(Default)]
struct Span(Option<Window>);

impl Span {
    fn cover(&mut self, profile: &otlp::Profile) {
        let from = Timestamp(profile.time_unix_nano);
        let to = from.saturating_add(profile.duration_nano);
        let window = self.0.unwrap_or(Window::new(from, to));
        self.0 = Some(Window::new(window.from.min(from), window.to.max(to)));
    }

    fn window(self) -> Window {
        self.0.unwrap_or(Window::new(Timestamp(0), Timestamp(0)))
    }
}
