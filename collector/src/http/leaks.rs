//! `GET /api/v1/leaks`: which stacks leak, how sure that is, what filled the memory of processes that were killed,
//! and whose memory is not seen.

use flamekeeper_profile::leaks::{Blindness, Verdict};
use flamekeeper_profile::{Frame, SampleType, StackEnd, Timestamp, Window, label};
use serde::Serialize;

use super::QueryState;
use super::answer::{Answer, Body};
use super::error::ApiError;
use super::params::Params;
use crate::leaks::{self, Blind, Found, Group, Killed, Question, Suspect};
use crate::query::{Profile, SymbolizedProfile};
use crate::watch;

/// Suspects that are told where nobody says how many, and at most.
const DEFAULT_SUSPECTS: usize = 20;
const MOST_SUSPECTS: usize = 200;
/// Frames of a stack that are told.
const MOST_FRAMES: usize = 200;
/// How far ahead is looked, in seconds, where nobody says: an hour; and at most: 30 days.
const HORIZON: f64 = 3600.0;
const LONGEST_HORIZON: f64 = 2_592_000.0;

#[derive(Serialize)]
struct LeaksJson {
    from: f64,
    to: f64,
    horizon: f64,
    groups: Vec<GroupJson>,
    groups_left_out: usize,
    leaks: usize,
    suspects_total: usize,
    suspects: Vec<SuspectJson>,
    killed: Vec<KilledJson>,
    blind: Vec<BlindJson>,
    blind_left_out: usize,
}

#[derive(Serialize)]
struct GroupJson {
    service: String,
    version: String,
    query: String,
    from: f64,
    to: f64,
    age: Option<u64>,
    processes: f64,
    sampled: Vec<ProcessJson>,
}

#[derive(Serialize)]
struct ProcessJson {
    host: String,
    pid: String,
}

#[derive(Serialize)]
struct SuspectJson {
    service: String,
    version: String,
    verdict: &'static str,
    evidence: String,
    function: String,
    module: String,
    growth: f64,
    low: f64,
    high: f64,
    rate: f64,
    old: f64,
    level: f64,
    reached: f64,
    freed: f64,
    lived: f64,
    query: String,
    from: f64,
    to: f64,
    stack: Vec<FrameJson>,
    frames_left_out: usize,
    truncated: Option<&'static str>,
}

#[derive(Serialize)]
struct FrameJson {
    name: String,
    module: String,
    file: String,
    line: u32,
    kind: &'static str,
}

#[derive(Serialize)]
struct KilledJson {
    service: String,
    version: String,
    host: String,
    pid: String,
    comm: String,
    bytes: u64,
    query: String,
    from: Option<f64>,
    to: Option<f64>,
}

#[derive(Serialize)]
struct BlindJson {
    service: String,
    version: String,
    sampled: bool,
    scraped: bool,
    reasons: Vec<ReasonJson>,
}

#[derive(Serialize)]
struct ReasonJson {
    reason: &'static str,
    cause: &'static str,
    advice: &'static str,
    total: bool,
}

pub(super) fn answer(state: &QueryState, mut params: Params) -> Result<Answer, ApiError> {
    let service = params.text("service").unwrap_or_default();
    let fits = |seconds: &f64| *seconds > 0.0 && *seconds <= LONGEST_HORIZON;
    let horizon = params.value("horizon", "a number of seconds greater than 0, 30 days at most", fits)?.unwrap_or(HORIZON);
    let fits = |count: &usize| (1..=MOST_SUSPECTS).contains(count);
    let limit = params.value("limit", "a whole number of suspects from 1 to 200", fits)?.unwrap_or(DEFAULT_SUSPECTS);
    let question = Question { window: params.window()?, service, horizon };
    let closed = params.finish()?;
    let mut found = leaks::find(&*state.store, &question)?;
    let killed = leaks::killed(&*state.store, &question)?;
    let (blind, blind_left_out) = leaks::blind(&*state.store, &question)?;
    watch::check()?;
    let suspects_total = found.suspects.len();
    let leaks = found.suspects.iter().filter(|suspect| suspect.forecast.verdict == Verdict::Leaks).count();
    found.suspects.truncate(limit);
    let named = name(&mut found, question.window, state);
    watch::check()?;
    let body = serde_json::to_vec(&LeaksJson {
        from: question.window.from.as_seconds(),
        to: question.window.to.as_seconds(),
        horizon: question.horizon,
        suspects: found.suspects.iter().filter_map(|suspect| told(suspect, found.groups.get(suspect.group)?, &named)).collect(),
        groups: found.groups.iter().map(GroupJson::from).collect(),
        groups_left_out: found.left_out,
        leaks,
        suspects_total,
        killed: killed.into_iter().map(KilledJson::from).collect(),
        blind: blind.into_iter().map(BlindJson::from).collect(),
        blind_left_out,
    })?;
    Ok(Answer { body: Body::Json(body), closed })
}

/// Names of the stacks that are told.
fn name(found: &mut Found, window: Window, state: &QueryState) -> SymbolizedProfile {
    let mut profile = Profile { window, ..Profile::new("inuse_space") };
    profile.merged.tables = std::mem::take(&mut found.tables);
    let bytes = SampleType::plain("inuse_space", "bytes");
    found.suspects.iter().for_each(|suspect| profile.merged.add(suspect.stack, &bytes, 1));
    profile.symbolize(&*state.symbols)
}

fn told(suspect: &Suspect, group: &Group, named: &SymbolizedProfile) -> Option<SuspectJson> {
    let Suspect { stack, forecast, .. } = suspect;
    let (_, end) = named.stack(*stack);
    let frames = || named.frames(*stack);
    let site = frames().find(|frame| !leaks::allocates(frame)).or_else(|| frames().next());
    let seconds = |at: Timestamp| at.as_seconds();
    Some(SuspectJson {
        service: group.service.clone(),
        version: group.version.clone(),
        verdict: forecast.verdict.as_str(),
        evidence: forecast.evidence.clone(),
        function: site.map_or_else(|| "[no stack]".to_owned(), |frame| frame.name.to_string()),
        module: site.map(|frame| frame.module.to_string()).unwrap_or_default(),
        growth: forecast.growth,
        low: forecast.low,
        high: forecast.high,
        rate: forecast.rate,
        old: forecast.old,
        level: forecast.level,
        reached: forecast.counts.reached,
        freed: forecast.counts.freed,
        lived: forecast.counts.lived,
        query: group.selector().to_string(),
        from: seconds(group.observed.from),
        to: seconds(group.observed.to),
        stack: frames().take(MOST_FRAMES).map(FrameJson::from).collect(),
        frames_left_out: frames().count().saturating_sub(MOST_FRAMES),
        truncated: truncated(end),
    })
}

fn truncated(end: StackEnd) -> Option<&'static str> {
    match end {
        StackEnd::Truncated(reason) => Some(reason.as_str()),
        _ => None,
    }
}

impl From<&Frame> for FrameJson {
    fn from(frame: &Frame) -> Self {
        Self {
            name: frame.name.to_string(),
            module: frame.module.to_string(),
            file: frame.file.to_string(),
            line: frame.line,
            kind: frame.kind.as_str(),
        }
    }
}

impl From<&Group> for GroupJson {
    fn from(group: &Group) -> Self {
        Self {
            service: group.service.clone(),
            version: group.version.clone(),
            query: group.selector().to_string(),
            from: group.observed.from.as_seconds(),
            to: group.observed.to.as_seconds(),
            age: group.age,
            processes: group.processes,
            sampled: group.sampled.iter().map(|(host, pid)| ProcessJson { host: host.clone(), pid: pid.clone() }).collect(),
        }
    }
}

impl From<Killed> for KilledJson {
    fn from(killed: Killed) -> Self {
        let query = killed.selector().to_string();
        let of = |name: &str| killed.labels.get(name).to_owned();
        Self {
            service: of(label::SERVICE),
            version: of(label::VERSION),
            host: of(label::HOST),
            pid: of(label::PID),
            comm: of(label::COMM),
            bytes: killed.bytes,
            query,
            from: killed.at.map(|window| window.from.as_seconds()),
            to: killed.at.map(|window| window.to.as_seconds()),
        }
    }
}

impl From<Blind> for BlindJson {
    fn from(blind: Blind) -> Self {
        let Blind { service, version, sampled, scraped, kinds } = blind;
        Self { service, version, sampled, scraped, reasons: kinds.into_iter().map(ReasonJson::from).collect() }
    }
}

impl From<Blindness> for ReasonJson {
    fn from(kind: Blindness) -> Self {
        Self { reason: kind.as_str(), cause: kind.cause(), advice: kind.advice(), total: kind.is_total() }
    }
}
