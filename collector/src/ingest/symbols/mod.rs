//! Symbols: which are wanted of those that agents offer, and their upload, in parts or whole.

mod leases;
mod parts;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flamekeeper_profile::BuildId;
use flamekeeper_symbolizer::{AddError, Added, Held, SymbolStore, SymbolsPresent};
use flamekeeper_wire::symbols::{MAX_PART, Offer, OfferAnswer, Offers, PartAnswer, SymbolSource, Wanted};
use flamekeeper_wire::{AgentId, gzip, lz4};

use self::leases::{Claim, Grant, LeaseLimits, Leases, Refusal, Token, Upload};
use self::parts::{Parts, random_token};
use super::{IngestCounters, IngestError, IngestState, decompressed};

/// Bytes of a list of offers.
const MAX_LIST: usize = 512 << 10;
/// Objects remembered as those that could not be used.
const MAX_REFUSED: usize = 100_000;
/// Objects that one host sent damaged may be whole on another: so many are tried. What cannot be converted is the same everywhere.
const STRIKES: u8 = 3;
const LIMITS: LeaseLimits = LeaseLimits { per_agent: 16, leases: 4096, begun: 64, bytes: 4 << 30 };

/// Uploads that are under way, and how they ended.
#[derive(Debug)]
pub struct Uploads {
    leases: Mutex<Leases>,
    parts: Parts,
    identity: Token,
    refused: Mutex<HashMap<BuildId, Refused>>,
    /// Counts since the collector started.
    pub counters: UploadCounters,
}

/// Why no more is asked for an object that came and could not be used.
#[derive(Clone, Copy, Debug)]
struct Refused {
    /// Its best source: only a better one is worth another try.
    source: SymbolSource,
    /// How much speaks against it, at most [`STRIKES`].
    strikes: u8,
    /// Whether the store remembers why it cannot be converted; it forgets that when it may be otherwise.
    bad: bool,
}

/// Counts of uploads.
#[derive(Debug, Default)]
pub struct UploadCounters {
    /// Bytes of parts, as they were sent.
    pub bytes: AtomicU64,
    /// Objects that came whole, however they were taken.
    pub objects: AtomicU64,
    /// Objects that came whole and could not be used.
    pub refused: AtomicU64,
    /// Uploads that had begun and were not continued in time.
    pub abandoned: AtomicU64,
}

impl Uploads {
    /// Uploads of a directory, which is made where it is missing; those that were under way go on.
    ///
    /// # Errors
    /// Where the directory cannot be made, read or written.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let parts = Parts::open(directory)?;
        let mut leases = Leases::new(LIMITS);
        for found in parts.found()? {
            if !leases.restore(found.id, found.token.clone(), found.upload, found.received, Instant::now()) {
                parts.remove(&found.token);
            }
        }
        let identity = parts.identity()?;
        let bad = parts.bad()?.into_iter().take(MAX_REFUSED);
        let refused = bad.map(|(id, source)| (id, Refused { source, strikes: STRIKES, bad: true })).collect();
        Ok(Self { leases: Mutex::new(leases), parts, identity, refused: Mutex::new(refused), counters: UploadCounters::default() })
    }

    /// What [`flamekeeper_wire::COLLECTOR_ID`] says.
    #[must_use]
    pub fn identity(&self) -> &str {
        self.identity.as_str()
    }

    /// Uploads that are leased or being converted now.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.leases().len(Instant::now())
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers each offer.
    fn answer(&self, agent: &AgentId, offers: &[(BuildId, Offer)], store: &SymbolStore, object_bytes: u64) -> io::Result<OfferAnswer> {
        let now = Instant::now();
        let mut gone = self.leases().expire(now);
        gone.iter().for_each(|_| IngestCounters::count(&self.counters.abandoned));
        let mut answer = OfferAnswer::default();
        for (id, offer) in offers {
            if offer.bytes == 0 || offer.bytes > object_bytes || !self.welcome(id, offer.source, store) {
                continue;
            }
            let upload = Upload { agent: agent.clone(), source: offer.source, total: offer.bytes };
            let (grant, ended) = self.leases().offer(id, upload, random_token()?, now);
            gone.extend(ended);
            match grant {
                Grant::Send { token, received } => {
                    answer.wanted.push(Wanted { build_id: id.to_string(), lease: token.as_str().to_owned(), received });
                }
                Grant::Later => answer.later.push(id.to_string()),
            }
        }
        gone.iter().for_each(|token| self.parts.remove(token));
        Ok(answer)
    }

    fn welcome(&self, id: &BuildId, source: SymbolSource, store: &SymbolStore) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = refused.get(id).copied();
        let held = store.held(id);
        let worth = |refused: Refused| refused.source < source || refused.strikes < STRIKES || (refused.bad && held != Held::Bad);
        refused.is_none_or(worth)
            && match held {
                Held::Nothing | Held::Bad => true,
                Held::Postponed => false,
                Held::Symbols(held) => held < present(source),
            }
    }

    /// Writes a claimed part; the claim is given back however it goes.
    fn write(&self, id: &BuildId, token: &Token, claim: &Claim, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let begun = if claim.first { self.parts.begin(id, token, &claim.upload) } else { Ok(()) };
        let result = begun.and_then(|()| self.parts.write(token, offset, bytes));
        match &result {
            // Still claimed: it is converted.
            Ok(()) if claim.last => {}
            Ok(()) => self.leases().written(id, token, offset + bytes.len() as u64, Instant::now()),
            Err(_) => self.give_up(id, token),
        }
        result
    }

    fn give_up(&self, id: &BuildId, token: &Token) {
        self.parts.remove(token);
        self.leases().end(id, token);
    }

    /// Hands what was received to the store, and forgets it.
    fn finish(&self, id: &BuildId, token: &Token, source: SymbolSource, store: &SymbolStore) -> Result<StatusCode, IngestError> {
        let file = self.parts.file(token).map_err(IngestError::Upload);
        let result = file.and_then(|file| Ok(store.add_file(Some(id), &file)?.added));
        IngestCounters::count(&self.counters.objects);
        match &result {
            Err(IngestError::Symbols(error)) => {
                IngestCounters::count(&self.counters.refused);
                if error.is_final() {
                    let strikes = if matches!(error, AddError::Convert(_)) { STRIKES } else { 1 };
                    self.refuse(id, Refused { source, strikes, bad: store.held(id) == Held::Bad });
                }
            }
            // It was offered as more than it was.
            Ok(_) if matches!(store.held(id), Held::Symbols(held) if held < present(source)) => {
                self.refuse(id, Refused { source, strikes: 1, bad: false });
            }
            _ => {}
        }
        self.give_up(id, token);
        Ok(status(result?))
    }

    fn refuse(&self, id: &BuildId, new: Refused) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < MAX_REFUSED || refused.contains_key(id) {
            let before = refused.get(id).copied().filter(|before| before.source >= new.source);
            let Refused { source, strikes, bad } = before.unwrap_or(Refused { strikes: 0, ..new });
            let strikes = strikes.saturating_add(new.strikes).min(STRIKES);
            refused.insert(id.clone(), Refused { source, strikes, bad: bad || new.bad });
            if new.bad {
                self.parts.note_bad(id, source);
            }
        }
    }
}

const fn present(source: SymbolSource) -> SymbolsPresent {
    match source {
        SymbolSource::DynamicSymbols => SymbolsPresent::DynamicOnly,
        SymbolSource::SymbolTable => SymbolsPresent::SymbolTable,
        SymbolSource::PartialDebugInfo => SymbolsPresent::PartialDebugInfo,
        SymbolSource::GoTable => SymbolsPresent::GoTable,
        SymbolSource::DebugInfo => SymbolsPresent::DebugInfo,
    }
}

const fn status(added: Added) -> StatusCode {
    match added {
        Added::Stored => StatusCode::NO_CONTENT,
        Added::AlreadyThere => StatusCode::OK,
    }
}

/// `POST /api/v1/symbols/offers`.
pub(super) async fn offers(State(state): State<IngestState>, headers: HeaderMap, body: Body) -> Result<Response, IngestError> {
    let (bytes, _permit) = state.read(&headers, body, MAX_LIST).await?;
    let wrong = |message: String| IngestError::Request { limit: Offers::MAX, message };
    let request: Offers = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if request.offers.len() > Offers::MAX {
        return Err(wrong(format!("there are {}", request.offers.len())));
    }
    let agent = request.agent.parse().map_err(|error: flamekeeper_wire::ParseBatchIdError| wrong(error.to_string()))?;
    let parse = |offer: Offer| Ok((offer.build_id.parse()?, offer));
    let offers = request.offers.into_iter().map(parse).collect::<Result<Vec<(BuildId, Offer)>, IngestError>>()?;
    let limit = state.limits.object_bytes as u64;
    let work = move || state.uploads.answer(&agent, &offers, &state.symbols, limit);
    let answer = tokio::task::spawn_blocking(work).await.map_err(|_| IngestError::Internal)?.map_err(IngestError::Upload)?;
    Ok(axum::Json(answer).into_response())
}

/// `PUT /api/v1/symbols/{build_id}/parts/{lease}/{offset}`.
pub(super) async fn part(
    State(state): State<IngestState>,
    UrlPath((build_id, lease, offset)): UrlPath<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, IngestError> {
    let id: BuildId = build_id.parse()?;
    let (Some(token), Ok(offset)) = (Token::parse(&lease), offset.parse()) else { return refused(Refusal::Gone) };
    // Before it is read.
    if let Err(refusal) = state.uploads.leases().check(&id, &token, offset, Instant::now()) {
        return refused(refusal);
    }
    let (body, permit) = state.read(&headers, body, lz4::greatest(MAX_PART)).await?;
    let gate = Arc::clone(&state.gates.converter);
    let handle = tokio::runtime::Handle::current();
    // All of it in one piece of work that goes to its end, also where the agent does not wait for the answer.
    let work = move || {
        let _held = permit;
        let bytes = plain(&headers, &body)?;
        let claimed = state.uploads.leases().claim(&id, &token, offset, bytes.len() as u64, Instant::now());
        let claim = match claimed {
            Ok(claim) => claim,
            Err(refusal) => return refused(refusal),
        };
        state.uploads.counters.bytes.fetch_add(body.len() as u64, std::sync::atomic::Ordering::Relaxed);
        state.uploads.write(&id, &token, &claim, offset, &bytes).map_err(IngestError::Upload)?;
        if !claim.last {
            return Ok((StatusCode::ACCEPTED, axum::Json(PartAnswer { received: offset + bytes.len() as u64 })).into_response());
        }
        let _turn = handle.block_on(gate.acquire_owned()).map_err(|_| IngestError::Internal)?;
        Ok(state.uploads.finish(&id, &token, claim.upload.source, &state.symbols)?.into_response())
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| IngestError::Internal)?
}

/// A part as it was before compression.
fn plain<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<std::borrow::Cow<'a, [u8]>, IngestError> {
    let lz4 = headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == lz4::ENCODING);
    let bytes = if lz4 { lz4::decompress(body, MAX_PART)?.into() } else { decompressed(headers, body, MAX_PART)? };
    if bytes.len() > MAX_PART { Err(gzip::GunzipError::TooLarge { limit: MAX_PART }.into()) } else { Ok(bytes) }
}

fn refused(refusal: Refusal) -> Result<Response, IngestError> {
    match refusal {
        Refusal::Due(received) => Ok((StatusCode::CONFLICT, axum::Json(PartAnswer { received })).into_response()),
        Refusal::Gone => Err(IngestError::NoLease),
        Refusal::Length => Err(IngestError::PartLength),
        Refusal::Busy => Err(IngestError::Busy),
    }
}

/// `PUT /api/v1/symbols/{build_id}`.
pub(super) async fn upload(
    State(state): State<IngestState>,
    UrlPath(build_id): UrlPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, IngestError> {
    let id: BuildId = build_id.parse()?;
    // Before the body is read: it may be hundreds of megabytes, and only one is converted at a time.
    let turn = tokio::time::timeout(state.limits.body_time, Arc::clone(&state.gates.converter).acquire_owned());
    let turn = turn.await.map_err(|_| IngestError::Busy)?.map_err(|_| IngestError::Internal)?;
    let (bytes, permit) = state.read(&headers, body, state.limits.bytes_in_flight).await?;
    let work = move || {
        let _held = (permit, turn);
        let elf = decompressed(&headers, &bytes, state.limits.object_bytes)?;
        Ok(status(state.symbols.add(&id, &elf)?))
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| IngestError::Internal)?
}
