//! Symbols as people manage them: `/api/v1/symbols` and `/api/v1/symbolize`. What agents send comes in by [`crate::ingest`].

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flamekeeper_profile::{BuildId, Svma, Timestamp};
use flamekeeper_symbolizer::{Added, StoredObject, StoredState, SymbolFrame, SymbolStore, Symbolized, SymbolsPresent};
use http_body_util::BodyExt as _;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::error::ApiError;
use super::params::Params;

/// How long a sender may pause within its object.
const PAUSE: Duration = Duration::from_secs(30);
/// Bytes that are written to disk at a time.
const PIECE: usize = 1 << 20;
/// Addresses of one question.
const MAX_ADDRESSES: usize = 10_000;

/// What these endpoints work on.
#[derive(Clone, Debug)]
pub struct SymbolsState {
    symbols: Arc<SymbolStore>,
    now: fn() -> Timestamp,
    object_bytes: u64,
    /// One object comes in at a time: it may take a gigabyte of disk.
    receiving: Arc<Semaphore>,
}

impl SymbolsState {
    /// The state over a store, for objects of at most `object_bytes`.
    #[must_use]
    pub fn new(symbols: Arc<SymbolStore>, now: fn() -> Timestamp, object_bytes: u64) -> Self {
        Self { symbols, now, object_bytes, receiving: Arc::new(Semaphore::new(1)) }
    }
}

/// The routes of the management of symbols.
pub fn symbol_routes(state: SymbolsState) -> Router {
    Router::new()
        .route("/api/v1/symbols", get(list).post(add))
        .route("/api/v1/symbols/{build_id}", get(one).delete(remove))
        .route("/api/v1/symbolize", get(symbolize))
        .with_state(state)
}

#[derive(Serialize)]
struct ListJson {
    now: f64,
    total: usize,
    objects: Vec<ObjectJson>,
}

/// One object. What does not apply to its state is absent.
#[derive(Serialize)]
struct ObjectJson {
    build_id: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    used: f64,
}

impl From<StoredObject> for ObjectJson {
    fn from(object: StoredObject) -> Self {
        let build_id = object.id.to_string();
        let used = object.used.as_seconds();
        match object.state {
            StoredState::Stored { source, bytes } => {
                Self { build_id, state: "stored", source: Some(source.as_str()), bytes: Some(bytes), reason: None, used }
            }
            StoredState::Bad { reason } => Self { build_id, state: "bad", source: None, bytes: None, reason: Some(reason), used },
        }
    }
}

async fn list(State(state): State<SymbolsState>, uri: Uri) -> Result<Response, ApiError> {
    let now = (state.now)();
    let mut params = Params::of(&uri, String::new(), now)?;
    let limit = params.value("limit", "a whole number of objects, 0 for all", |_| true)?.unwrap_or(1000_usize);
    params.finish()?;
    let mut all = blocking(move || state.symbols.list()).await?;
    let total = all.len();
    all.truncate(if limit == 0 { usize::MAX } else { limit });
    let objects = all.into_iter().map(ObjectJson::from).collect();
    Ok(axum::Json(ListJson { now: now.as_seconds(), total, objects }).into_response())
}

async fn one(State(state): State<SymbolsState>, Path(build_id): Path<String>) -> Result<Response, ApiError> {
    let id = parse(&build_id)?;
    let found = blocking(move || state.symbols.get(&id)).await?.ok_or_else(|| unknown(&build_id))?;
    Ok(axum::Json(ObjectJson::from(found)).into_response())
}

async fn remove(State(state): State<SymbolsState>, Path(build_id): Path<String>) -> Result<Response, ApiError> {
    let id = parse(&build_id)?;
    let removed = blocking(move || state.symbols.remove(&id)).await?;
    let removed = removed.map_err(|error| ApiError::Symbols(error.into()))?.ok_or_else(|| unknown(&build_id))?;
    Ok(axum::Json(ObjectJson::from(removed)).into_response())
}

fn parse(build_id: &str) -> Result<BuildId, ApiError> {
    build_id.parse().map_err(|error| ApiError::Parameter(format!("{build_id:?} is no build id: {error}")))
}

fn unknown(build_id: &str) -> ApiError {
    ApiError::NotFound(format!("there are no symbols of {build_id}; GET /api/v1/symbols lists what there is"))
}

#[derive(Serialize)]
struct AddedJson {
    build_id: String,
    result: &'static str,
    source: &'static str,
    replaced: Option<&'static str>,
    bytes: u64,
}

async fn add(State(state): State<SymbolsState>, uri: Uri, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let mut params = Params::of(&uri, String::new(), (state.now)())?;
    let id = params.text("build_id").map(|id| parse(&id)).transpose()?;
    params.finish()?;
    // A page of another origin can send no such type without asking first, which nobody here answers.
    if headers.get(header::CONTENT_TYPE).is_none_or(|value| value.as_bytes() != b"application/octet-stream") {
        return Err(ApiError::MediaType);
    }
    let turn = Arc::clone(&state.receiving).try_acquire_owned().map_err(|_| ApiError::Busy)?;
    let symbols = Arc::clone(&state.symbols);
    let file = blocking(move || symbols.scratch_file()).await?.map_err(|error| ApiError::Symbols(error.into()))?;
    let file = receive(body, file, state.object_bytes).await?;
    let work = move || {
        let _turn = turn;
        state.symbols.add_file(id.as_ref(), &file)
    };
    let addition = blocking(work).await??;
    let result = match addition.added {
        Added::Stored => "stored",
        Added::AlreadyThere => "already_there",
    };
    let answer = AddedJson {
        build_id: addition.id.to_string(),
        result,
        source: addition.source.as_str(),
        replaced: addition.replaced.map(SymbolsPresent::as_str),
        bytes: addition.bytes,
    };
    Ok((StatusCode::OK, axum::Json(answer)).into_response())
}

/// Writes a body to a file, piece by piece.
async fn receive(mut body: Body, mut file: File, limit: u64) -> Result<File, ApiError> {
    if body.size_hint().lower() > limit {
        return Err(ApiError::ObjectTooLarge { limit });
    }
    let (mut piece, mut len) = (Vec::with_capacity(PIECE), 0_u64);
    loop {
        let frame = tokio::time::timeout(PAUSE, body.frame()).await.map_err(|_| ApiError::Slow { seconds: PAUSE.as_secs() })?;
        let data = match frame {
            None => None,
            Some(Ok(frame)) => Some(frame.into_data().unwrap_or_else(|_| Bytes::new())),
            Some(Err(error)) => return Err(ApiError::Parameter(format!("the object ended early: {error}"))),
        };
        let ended = data.is_none();
        let data = data.unwrap_or_default();
        len = len.saturating_add(data.len() as u64);
        if len > limit {
            return Err(ApiError::ObjectTooLarge { limit });
        }
        piece.extend_from_slice(&data);
        if piece.len() >= PIECE || ended {
            let full = std::mem::take(&mut piece);
            file = blocking(move || write(file, &full)).await?.map_err(|error| ApiError::Symbols(error.into()))?;
        }
        if ended {
            return Ok(file);
        }
    }
}

fn write(mut file: File, piece: &[u8]) -> std::io::Result<File> {
    use std::io::Write as _;
    file.write_all(piece)?;
    Ok(file)
}

#[derive(Serialize)]
struct SymbolizedJson<'a> {
    build_id: String,
    addresses: Vec<AddressJson<'a>>,
}

#[derive(Serialize)]
struct AddressJson<'a> {
    address: String,
    frames: Vec<FrameJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unnamed: Option<&'static str>,
}

/// A function at a line, the innermost first.
#[derive(Serialize)]
struct FrameJson<'a> {
    function: &'a str,
    start_line: u32,
    file: &'a str,
    line: u32,
    inlined: bool,
}

impl<'a> From<&'a SymbolFrame> for FrameJson<'a> {
    fn from(frame: &'a SymbolFrame) -> Self {
        Self { function: &frame.function, start_line: frame.start_line, file: &frame.file, line: frame.line, inlined: frame.inlined }
    }
}

async fn symbolize(State(state): State<SymbolsState>, uri: Uri) -> Result<Response, ApiError> {
    let mut params = Params::of(&uri, String::new(), (state.now)())?;
    let required = |name: &str| ApiError::Parameter(format!("{name} is missing: ask for ?build_id=gnu:HEX&addresses=0x1000,0x2000"));
    let id = parse(&params.text("build_id").ok_or_else(|| required("build_id"))?)?;
    let addresses = addresses(&params.text("addresses").ok_or_else(|| required("addresses"))?)?;
    params.finish()?;
    let (build_id, symbols) = (id.to_string(), state.symbols);
    let look_up = move || addresses.into_iter().map(|address| (address, symbols.symbolize(&id, address))).collect::<Vec<_>>();
    let found = blocking(look_up).await?;
    let addresses = found.iter().map(|(address, found)| {
        let (frames, unnamed) = match found {
            Symbolized::Frames(frames) => (frames.iter().map(|frame| FrameJson::from(&**frame)).collect(), None),
            Symbolized::Unknown(reason) => (Vec::new(), Some(reason.as_str())),
        };
        AddressJson { address: format!("{:#x}", address.0), frames, unnamed }
    });
    Ok(axum::Json(SymbolizedJson { build_id, addresses: addresses.collect() }).into_response())
}

fn addresses(text: &str) -> Result<Vec<Svma>, ApiError> {
    let wrong = |part: &str| ApiError::Parameter(format!("{part:?} is no address: write hexadecimal digits, such as 0x1a2b"));
    let read = |part: &str| {
        let digits = part.trim();
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        // `from_str_radix` takes a sign.
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(digits, 16).ok().filter(|_| plain).map(Svma).ok_or_else(|| wrong(part))
    };
    let addresses = text.split(',').take(MAX_ADDRESSES + 1).map(read).collect::<Result<Vec<_>, _>>()?;
    if addresses.len() > MAX_ADDRESSES {
        return Err(ApiError::Parameter(format!("there are more than {MAX_ADDRESSES} addresses; ask for them in parts")));
    }
    Ok(addresses)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses are hexadecimal, with or without 0x, and nothing else.
    #[test]
    fn reads_addresses() {
        assert_eq!(addresses("0x10,20, ffffffffffffffff").unwrap(), [0x10, 0x20, u64::MAX].map(Svma));
        for wrong in ["", "0x", "+10", "-1", "10,,20", "0x10000000000000000", "main"] {
            assert!(matches!(addresses(wrong), Err(ApiError::Parameter(_))), "{wrong}");
        }
        assert!(addresses(&vec!["1"; MAX_ADDRESSES].join(",")).is_ok());
        assert!(addresses(&vec!["1"; MAX_ADDRESSES + 1].join(",")).is_err());
    }
}
