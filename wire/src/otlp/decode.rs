//! From the message to a batch: every index checked, every size limited.

mod census;
mod dictionary;
mod fields;
mod message;
mod series;

use flamekeeper_profile::{AgentFigures, Batch, Figure, Labels, Ledger, Timestamp, Window, label};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use self::dictionary::Dictionary;
use self::fields::Fields;
use self::message::{Message, Profile};
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
    // The dictionary stands behind the samples that refer to it.
    let (mut message, mut resources) = (Message::default(), Vec::new());
    let mut fields = Fields::new(bytes);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => resources.push(field.bytes()?),
            2 => message.read(field.bytes()?, limits)?,
            _ => {}
        }
    }
    let mut dictionary = Dictionary::new(&message, limits);
    let mut builder = SeriesBuilder::new(*limits);
    let mut span = Span::default();
    let (mut ledger, mut figures) = (None, AgentFigures::default());
    let mut sender = Labels::new();
    for resource in resources {
        let (resource, scopes) = read_resource(resource)?;
        let labels = dictionary.labels(&resource.attributes)?;
        for scope in scopes {
            let (name, profiles) = read_scope(scope)?;
            for profile in profiles {
                let profile = Profile::read(profile)?;
                span.cover(&profile);
                if name == LEDGER_SCOPE {
                    read_ledger(ledger.get_or_insert_default(), &mut figures, &dictionary, &profile)?;
                } else {
                    builder.profile(&mut dictionary, &labels, &profile, name == SCOPE)?;
                }
            }
            if name == LEDGER_SCOPE {
                sender = labels.clone();
            } else if sender.is_empty() {
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

/// The resource of a sender's profiles, and the messages of its scopes.
fn read_resource(message: &[u8]) -> Result<(Resource, Vec<&[u8]>), DecodeError> {
    let (mut resource, mut scopes) = (Resource::default(), Vec::new());
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => resource.merge(field.bytes()?)?,
            2 => scopes.push(field.bytes()?),
            _ => {}
        }
    }
    Ok((resource, scopes))
}

/// The name of a scope, and the messages of its profiles.
fn read_scope(message: &[u8]) -> Result<(&str, Vec<&[u8]>), DecodeError> {
    let (mut name, mut profiles) = ("", Vec::new());
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => {
                let mut scope = Fields::new(field.bytes()?);
                while let Some((number, field)) = scope.next()? {
                    if number == 1 {
                        name = field.text()?;
                    }
                }
            }
            2 => profiles.push(field.bytes()?),
            _ => {}
        }
    }
    Ok((name, profiles))
}

fn read_ledger(
    ledger: &mut Ledger,
    figures: &mut AgentFigures,
    dictionary: &Dictionary<'_>,
    profile: &Profile<'_>,
) -> Result<(), DecodeError> {
    profile.samples(|sample| {
        for index in &sample.attributes {
            let (key, value) = dictionary.attribute(*index)?;
            match (key, &*value) {
                (LEDGER_ENTRY, LEDGER_TAKEN) => ledger.take(sample.value),
                (LEDGER_ENTRY, name) => ledger.add_entry(name, sample.value),
                (AGENT_FIGURE, name) => Figure::parse(name).into_iter().for_each(|figure| figures.set(figure, sample.value)),
                _ => {}
            }
        }
        Ok(())
    })
}

/// The window that all profiles of a request lie in.
#[derive(Default)]
struct Span(Option<Window>);

impl Span {
    fn cover(&mut self, profile: &Profile<'_>) {
        let from = Timestamp(profile.from);
        let to = from.saturating_add(profile.duration);
        let window = self.0.unwrap_or(Window::new(from, to));
        self.0 = Some(Window::new(window.from.min(from), window.to.max(to)));
    }

    fn window(self) -> Window {
        self.0.unwrap_or(Window::new(Timestamp(0), Timestamp(0)))
    }
}
