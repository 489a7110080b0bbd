//! `GET /api/v1/top`.

use flamekeeper_profile::SampleType;

use super::QueryState;
use super::answer::{Answer, Body};
use super::error::ApiError;
use super::params::Params;
use crate::query::{Generics, Profile, SymbolizedProfile};
use crate::render;
use crate::store::Selection;
use crate::watch;

pub(super) fn answer(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let selection = params.selection()?;
    let generics = params.generics()?;
    let limit = params.value("limit", "a whole number of functions, 0 for all", |_| true)?.unwrap_or(100);
    let closed = params.finish()?;
    let of = SampleType::variance_of(&selection.profile_type);
    let variances = of.map(|name| -> Result<_, ApiError> {
        // Of the very window that answers, also where that is the newest one of a level.
        let Selection { window, .. } = super::level::narrow(state, selection.clone())?;
        profile(state, Selection { profile_type: name.to_owned(), window, ..selection.clone() }, generics)
    });
    let variances = variances.transpose()?;
    let profile = profile(state, selection, generics)?;
    Ok(Answer { body: Body::Json(render::top_json(&profile, variances.as_ref(), limit)?), closed })
}

/// Merges and names a selection.
pub(super) fn profile(state: &QueryState, selection: Selection, generics: Generics) -> Result<SymbolizedProfile, ApiError> {
    let asked = selection.window;
    let selection = super::level::narrow(state, selection)?;
    let found = super::level::mean(state.store.merged(&selection)?, asked);
    watch::check()?;
    let (window, profile_type) = (asked, selection.profile_type);
    let profile = Profile { merged: found.merged, profile_type, unit: found.unit, window, completeness: found.completeness };
    let named = profile.symbolize(&*state.symbols).with_generics(generics);
    watch::check()?;
    Ok(named)
}
