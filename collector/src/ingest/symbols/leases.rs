//! Who sends what: the state of all uploads in parts, without their bytes.
//!
//! Invariants:
//! - A build id has one lease at most, so no two hosts send it at once.
//! - A lease that is not renewed ends; one whose bytes are being worked on does not.
//! - Leases are bounded in number, for each agent and together; uploads that have begun are bounded in number and in the bytes
//!   that they say they will have. What goes beyond is put off, never refused.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use flamekeeper_profile::BuildId;
use flamekeeper_wire::AgentId;
use flamekeeper_wire::symbols::{LEASE_SECONDS, MAX_PART, SymbolSource};

const LEASE: Duration = Duration::from_secs(LEASE_SECONDS as u64);

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaseLimits {
    /// Leases of one agent.
    pub(super) per_agent: usize,
    /// Leases of all agents.
    pub(super) leases: usize,
    /// Uploads of which a part has come.
    pub(super) begun: usize,
    /// Bytes that these will have together.
    pub(super) bytes: u64,
}

/// 128 random bits in hexadecimal digits: names a lease, and its files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Token(Box<str>);

impl Token {
    /// None where the text is no token; then it is no name of a file either.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(digits)).then(|| Self(text.into()))
    }

    pub(super) fn from_bits(bits: u128) -> Self {
        Self(format!("{bits:032x}").into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is sent, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Upload {
    pub(super) agent: AgentId,
    pub(super) source: SymbolSource,
    /// Bytes of all its parts.
    pub(super) total: u64,
}

#[derive(Debug)]
struct Lease {
    token: Token,
    upload: Upload,
    received: u64,
    begun: bool,
    working: bool,
    expires: Instant,
}

/// The answer to an offer that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// Send it, from this byte on.
    Send { token: Token, received: u64 },
    /// Not now.
    Later,
}

/// A part that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such lease.
    Gone,
    /// Another part is due.
    Due(u64),
    /// It goes beyond the length that was offered, or is too short: who sends little at a time would hold a lease for ever.
    Length,
    /// Another part of it is being worked on, or others must end first.
    Busy,
}

/// A part that may be written now. The lease does not end until [`Leases::written`] or [`Leases::end`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) upload: Upload,
    /// Whether it is the first, or was begun without a byte.
    pub(super) first: bool,
    /// Whether nothing is due after it.
    pub(super) last: bool,
}

/// All leases.
#[derive(Debug)]
pub(super) struct Leases {
    limits: LeaseLimits,
    leases: HashMap<BuildId, Lease>,
}

impl Leases {
    pub(super) fn new(limits: LeaseLimits) -> Self {
        Self { limits, leases: HashMap::new() }
    }

    /// Takes up an upload that an earlier collector had begun; false where there is no room for it.
    pub(super) fn restore(&mut self, id: BuildId, token: Token, upload: Upload, received: u64, now: Instant) -> bool {
        let fits = received <= upload.total && !self.leases.contains_key(&id) && self.has_room(upload.total);
        if fits {
            self.leases.insert(id, Lease { token, upload, received, begun: true, working: false, expires: now + LEASE });
        }
        fits
    }

    /// Ends what was not renewed in time; returns what had begun, whose files are to be removed.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Token> {
        let over = |lease: &Lease| !lease.working && lease.expires <= now;
        self.leases.extract_if(|_, lease| over(lease)).filter(|(_, lease)| lease.begun).map(|(_, lease)| lease.token).collect()
    }

    /// Answers an offer that the store would take. `new` names the lease, if there will be one. Also returns an upload that
    /// this ends, whose files are to be removed.
    pub(super) fn offer(&mut self, id: &BuildId, upload: Upload, new: Token, now: Instant) -> (Grant, Option<Token>) {
        let mut ended = None;
        if let Some(lease) = self.leases.get_mut(id) {
            if lease.upload.agent != upload.agent || lease.working {
                return (Grant::Later, None);
            }
            if lease.upload == upload {
                lease.expires = now + LEASE;
                return (Grant::Send { token: lease.token.clone(), received: lease.received }, None);
            }
            // It has something else now: its debug file has come, or it changed in place.
            ended = self.leases.remove(id).filter(|lease| lease.begun).map(|lease| lease.token);
        }
        let of_agent = self.leases.values().filter(|lease| lease.upload.agent == upload.agent).count();
        if of_agent >= self.limits.per_agent || self.leases.len() >= self.limits.leases {
            return (Grant::Later, ended);
        }
        let lease = Lease { token: new.clone(), upload, received: 0, begun: false, working: false, expires: now + LEASE };
        self.leases.insert(id.clone(), lease);
        (Grant::Send { token: new, received: 0 }, ended)
    }

    /// Whether a part may come, before it is read.
    pub(super) fn check(&self, id: &BuildId, token: &Token, offset: u64, now: Instant) -> Result<(), Refusal> {
        let lease = self.leases.get(id).filter(|lease| lease.token == *token && (lease.working || lease.expires > now));
        let lease = lease.ok_or(Refusal::Gone)?;
        match () {
            () if lease.working => Err(Refusal::Busy),
            () if offset != lease.received => Err(Refusal::Due(lease.received)),
            () if !lease.begun && !self.has_room(lease.upload.total) => Err(Refusal::Busy),
            () => Ok(()),
        }
    }

    /// Claims a part that was read whole.
    pub(super) fn claim(&mut self, id: &BuildId, token: &Token, offset: u64, len: u64, now: Instant) -> Result<Claim, Refusal> {
        self.check(id, token, offset, now)?;
        let lease = self.leases.get_mut(id).ok_or(Refusal::Gone)?;
        let end = offset.checked_add(len).filter(|end| *end <= lease.upload.total).ok_or(Refusal::Length)?;
        if len < MAX_PART as u64 && end < lease.upload.total {
            return Err(Refusal::Length);
        }
        let first = !std::mem::replace(&mut lease.begun, true);
        lease.working = true;
        Ok(Claim { upload: lease.upload.clone(), first, last: end == lease.upload.total })
    }

    /// The claimed part was written, up to this byte, or was not; what the same agent else has is renewed with it.
    pub(super) fn written(&mut self, id: &BuildId, token: &Token, received: u64, now: Instant) {
        let Some(lease) = self.leases.get_mut(id).filter(|lease| lease.token == *token) else { return };
        lease.working = false;
        lease.received = received;
        let agent = lease.upload.agent.clone();
        for lease in self.leases.values_mut().filter(|lease| lease.upload.agent == agent) {
            lease.expires = now + LEASE;
        }
    }

    /// The upload is done with, however it went.
    pub(super) fn end(&mut self, id: &BuildId, token: &Token) {
        if self.leases.get(id).is_some_and(|lease| lease.token == *token) {
            self.leases.remove(id);
        }
    }

    /// Leases that have not ended.
    pub(super) fn len(&self, now: Instant) -> usize {
        self.leases.values().filter(|lease| lease.working || lease.expires > now).count()
    }

    fn has_room(&self, total: u64) -> bool {
        let begun = self.leases.values().filter(|lease| lease.begun);
        let (count, bytes) = begun.fold((0, 0_u64), |(count, bytes), lease| (count + 1, bytes.saturating_add(lease.upload.total)));
        count < self.limits.begun && bytes.saturating_add(total) <= self.limits.bytes
    }
}

#[cfg(test)]
mod tests;
