//! Parameters of a question: each is read once, and one that nobody reads is an error.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::extract::Query;
use axum::http::Uri;
use flamekeeper_profile::{Timestamp, Window};

use super::error::ApiError;
use crate::query::{Generics, time};
use crate::selector::Selector;
use crate::store::Selection;

/// A window that ended this long ago is closed: batches of it come late only where an agent was cut off.
const CLOSED_AFTER: u64 = 120 * Timestamp::SECOND;

/// Between the names of a path: U+001F, the unit separator.
const PATH_SEPARATOR: char = '\u{1f}';

/// The parameters that are not read yet.
#[derive(Debug)]
pub struct Params {
    given: BTreeMap<String, String>,
    known: Vec<&'static str>,
    path_name: String,
    now: Timestamp,
    /// None before a window was read.
    closed: Option<bool>,
}

impl Params {
    /// The parameters of an address. `path_name` is the part of its path that is a name; empty where there is none.
    ///
    /// # Errors
    /// [`ApiError::Parameter`] for one that is given twice.
    pub fn of(uri: &Uri, path_name: String, now: Timestamp) -> Result<Self, ApiError> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Query(pairs) = pairs.map_err(|error| ApiError::Parameter(format!("the parameters cannot be read: {error}")))?;
        let mut given = BTreeMap::new();
        for (name, value) in pairs {
            if given.contains_key(&name) {
                return Err(ApiError::Parameter(format!("the parameter {name:?} is given twice; give it once")));
            }
            given.insert(name, value);
        }
        Ok(Self { given, known: Vec::new(), path_name, now, closed: None })
    }

    /// The name in the path.
    #[must_use]
    pub fn path_name(&self) -> &str {
        &self.path_name
    }

    /// A parameter as written. One that is empty counts as absent.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.given.remove(name).filter(|value| !value.is_empty())
    }

    /// A parameter read as a value that `expected` describes.
    ///
    /// # Errors
    /// [`ApiError::Parameter`] that says what was expected.
    pub fn value<T: FromStr>(&mut self, name: &'static str, expected: &str, fits: fn(&T) -> bool) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse().ok().filter(fits) {
            Some(value) => Ok(Some(value)),
            None => Err(ApiError::Parameter(format!("{name} is {text:?}; it must be {expected}"))),
        }
    }

    /// `from` and `to`.
    ///
    /// # Errors
    /// [`ApiError::Time`].
    pub fn window(&mut self) -> Result<Window, ApiError> {
        self.window_of("from", "to")
    }

    /// A window by the names of its two parameters. The answer is closed where all windows that were read are.
    ///
    /// # Errors
    /// [`ApiError::Time`].
    pub fn window_of(&mut self, from: &'static str, to: &'static str) -> Result<Window, ApiError> {
        let from = self.text(from).unwrap_or_else(|| "-15m".into());
        let to = self.text(to).unwrap_or_else(|| "now".into());
        let window = time::window(&from, &to, self.now)?;
        let closed = time::is_absolute(&from) && time::is_absolute(&to) && window.to.saturating_add(CLOSED_AFTER) <= self.now;
        self.closed = Some(closed && self.closed != Some(false));
        Ok(window)
    }

    /// `query`.
    ///
    /// # Errors
    /// [`ApiError::Selector`].
    pub fn selector(&mut self) -> Result<Selector, ApiError> {
        Ok(self.text("query").unwrap_or_default().parse()?)
    }

    /// `generics`.
    ///
    /// # Errors
    /// [`ApiError::Parameter`] that says what there is.
    pub fn generics(&mut self) -> Result<Generics, ApiError> {
        match self.text("generics").as_deref() {
            None | Some("keep") => Ok(Generics::Kept),
            Some("fold") => Ok(Generics::Folded),
            Some(other) => Err(ApiError::Parameter(format!("generics is {other:?}; it must be keep or fold"))),
        }
    }

    /// `path`: names of functions, root first; empty where it is not given.
    pub fn path(&mut self) -> Vec<String> {
        self.text("path").map(|path| path.split(PATH_SEPARATOR).map(str::to_owned).collect()).unwrap_or_default()
    }

    /// `from`, `to`, `type` and `query`.
    ///
    /// # Errors
    /// As [`Self::window`] and [`Self::selector`].
    pub fn selection(&mut self) -> Result<Selection, ApiError> {
        let profile_type = self.text("type").unwrap_or_else(|| "cpu".into());
        Ok(Selection { window: self.window()?, profile_type, selector: self.selector()? })
    }

    /// Ends the reading, and tells whether the window is closed: asked again, its answer will mostly be the same.
    ///
    /// # Errors
    /// [`ApiError::Parameter`] for one that this endpoint does not have.
    pub fn finish(self) -> Result<bool, ApiError> {
        match self.given.into_keys().next() {
            None => Ok(self.closed == Some(true)),
            Some(name) => Err(ApiError::Parameter(format!("there is no parameter {name:?} here; there are {}", self.known.join(", ")))),
        }
    }
}
