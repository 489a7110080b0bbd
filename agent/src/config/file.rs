//! Reads a configuration file: each mistake with its place, its key and what was expected.

use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};
use super::keys::{self, FREE_TABLE, KEYS};
use super::raw::RawConfig;
use super::value::Label;

/// A configuration file larger than this is a mistake.
const MAX_BYTES: u64 = 1 << 20;

pub(super) fn read(path: &Path) -> Result<RawConfig, ConfigError> {
    let unreadable = |error| ConfigError::Read { path: path.into(), error };
    let mut text = String::new();
    std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text)).map_err(unreadable)?;
    parse(path, &text)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<RawConfig, ConfigError> {
    let tree = DeTable::parse(text).map_err(|error| syntax(path, text, &error))?;
    for (name, value) in tree.get_ref() {
        check_key(path, text, "", name)?;
        for (inner, value) in tables(value).into_iter().flat_map(|table| table.iter()) {
            if name.get_ref() == FREE_TABLE {
                check_label(path, text, inner, value)?;
            } else {
                check_key(path, text, name.get_ref(), inner)?;
            }
        }
    }
    toml::from_str(text).map_err(|error| wrong_value(path, text, tree.get_ref(), &error))
}

/// The tables of a value: one, or those of `[[name]]`.
fn tables<'a, 'i>(value: &'a Spanned<DeValue<'i>>) -> Vec<&'a DeTable<'i>> {
    match value.get_ref() {
        DeValue::Table(table) => vec![table],
        DeValue::Array(values) => values.iter().filter_map(|value| value.get_ref().as_table()).collect(),
        _ => Vec::new(),
    }
}

fn check_key(path: &Path, text: &str, table: &str, name: &Spanned<std::borrow::Cow<'_, str>>) -> Result<(), ConfigError> {
    let key = name.get_ref();
    if keys::expected(table, key).is_some() {
        return Ok(());
    }
    let known: Vec<_> = KEYS.iter().filter(|known| known.table == table).map(|known| known.name).collect();
    Err(ConfigError::UnknownKey {
        path: path.into(),
        place: Place::of(text, name.span().start),
        key: keys::dotted(table, key),
        suggestion: keys::nearest(table, key),
        known: if known.is_empty() { "none: this is no table".into() } else { known.join(", ") },
    })
}

fn check_label(
    path: &Path,
    text: &str,
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<(), ConfigError> {
    let written = value.get_ref().as_str();
    let message = match written.map(|written| Label::new(name.get_ref(), written)) {
        Some(Ok(_)) => return Ok(()),
        Some(Err(error)) => error.to_string(),
        None => format!("expected a text in quotes, not {}", value.get_ref().type_str()),
    };
    let place = Place::of(text, name.span().start);
    Err(ConfigError::Value { path: path.into(), place, key: keys::dotted(FREE_TABLE, name.get_ref()), message })
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start);
    ConfigError::Syntax { path: path.into(), place: Place::of(text, offset), message: one_line(error.message()) }
}

fn wrong_value(path: &Path, text: &str, tree: &DeTable<'_>, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or(0..0);
    let (table, name) = key_at(tree, &span).unwrap_or_default();
    let said = one_line(error.message());
    // The value types say themselves what they expect; serde's words about types are for programmers.
    let message = match keys::expected(table, name) {
        Some(expected) if !said.starts_with("expected ") => format!("expected {expected} ({said})"),
        _ => said,
    };
    ConfigError::Value { path: path.into(), place: Place::of(text, span.start), key: keys::dotted(table, name), message }
}

/// The key whose value holds a span, with its table.
fn key_at<'a>(tree: &'a DeTable<'_>, span: &Range<usize>) -> Option<(&'a str, &'a str)> {
    let holds = |value: &Spanned<DeValue<'_>>| value.span().start <= span.start && span.end <= value.span().end;
    let in_tables = tree.iter().find_map(|(table, value)| {
        let inner = tables(value).into_iter().flat_map(|table| table.iter()).find(|(_, value)| holds(value))?;
        Some((&**table.get_ref(), &**inner.0.get_ref()))
    });
    in_tables.or_else(|| tree.iter().find(|(_, value)| holds(value)).map(|(name, _)| ("", &**name.get_ref())))
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
