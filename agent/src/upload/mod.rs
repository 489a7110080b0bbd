//! Uploads symbols that the collector lacks, once per fleet: it is offered what this host has, and what it wants is sent in
//! parts (`flamekeeper_wire::symbols`). Files that the debug information goes on in (split units, the supplementary file of `dwz`) go with it.
//!
//! One thread of low priority, apart from sampling and shipping; nothing waits for it. An object is sent as what names its
//! functions and no more, smallest first, so that a large one delays no other, and no faster than the configuration allows.
//! No copy is kept: each part is made when it is sent, so an upload that was cut off goes on where it was, also by the next
//! start of either program. Objects that are left out are counted, and named in the log where somebody could change that.
//!
//! What is done with is offered again every few hours, and soon where the collector is another than it was (`queue`): it may
//! have lost what it had, and this host may have better symbols by then.

mod best;
mod client;
mod queue;
mod rate;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use flamekeeper_profile::BuildId;
use flamekeeper_wire::AgentId;
use flamekeeper_wire::symbols::{LATER_SECONDS, MAX_PART, Offer, Offers, Wanted};

use crate::budget::Ceilings;
use crate::budget::governor::BudgetState;
use crate::budget::pacer::Pacer;
use crate::config::Config;
use crate::engine::ObjectSeen;
use crate::progress::Progress;
use crate::ship::{Backoff, ClientError};
use crate::stop::StopFlag;
use best::{Best, BestError};
use client::{Body, Client, Later, Part};
use queue::Queue;
use rate::Rate;

/// Announcements that wait for the uploader, each with an open file.
pub(crate) const CHANNEL: usize = 1024;
/// With nothing to do: an object that is announced, or the end of the engine, wakes the thread at once.
const IDLE_TICK: Duration = Duration::from_secs(10);
/// Objects that are offered at once.
const OFFERED: usize = 200;
/// Over how long what is to be offered to a new collector is spread.
const NEW_COLLECTOR: Duration = Duration::from_secs(60);
/// Until what is not wanted now is offered again.
const LATER: Duration = Duration::from_secs(LATER_SECONDS as u64);
/// Parts that may follow each other without one byte more being taken.
const MAX_STANDSTILL: u32 = 4;

/// The uploader's thread.
#[derive(Debug)]
pub(crate) struct Uploader {
    client: Client,
    agent: AgentId,
    /// Bytes of an object's symbols beyond which they are left out.
    limit: u64,
    rate: Rate,
    pacer: Option<Pacer>,
    seen: Receiver<ObjectSeen>,
    queue: Queue,
    /// As [`Progress::collector`] when all objects were offered.
    collector: u64,
    /// Whether the collector has got something since the last failure.
    moved: bool,
    stop: StopFlag,
    progress: Arc<Progress>,
}

/// What became of an upload.
enum Sent {
    Done,
    /// The collector has given the lease to somebody else, or this host has something else by now.
    Anew,
}

impl Uploader {
    pub(crate) fn new(
        config: &Config,
        agent: &AgentId,
        seen: Receiver<ObjectSeen>,
        stop: StopFlag,
        progress: Arc<Progress>,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            client: Client::new(&config.collector, &config.credentials, stop.clone())?,
            agent: agent.clone(),
            limit: config.symbols.max_object_bytes.0,
            rate: Rate::new(config.symbols.max_bytes_per_second.0, Instant::now()),
            pacer: None,
            seen,
            queue: Queue::default(),
            collector: 0,
            moved: false,
            stop,
            progress,
        })
    }

    /// Uploads until the flag is raised or nobody announces any more.
    pub(crate) fn run(mut self, runtime: &tokio::runtime::Runtime, budget: Option<(Ceilings, Arc<BudgetState>)>) {
        lower_priority();
        // Made here, in the thread that it paces.
        self.pacer = budget.map(|(ceilings, state)| Pacer::new(&ceilings, state));
        let mut backoff = Backoff::default();
        let mut due = Instant::now();
        while !self.stop.is_raised() {
            let now = Instant::now();
            let until = self.queue.next(now).map_or(IDLE_TICK, |next| next.max(due).saturating_duration_since(now));
            match self.seen.recv_timeout(until.min(IDLE_TICK)) {
                Ok(object) => self.queue.add(object, Instant::now()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.take_announced();
            self.meet_collector();
            self.queue.wake(Instant::now());
            if Instant::now() < due {
                continue;
            }
            match runtime.block_on(self.round()) {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    // The shipper has said that the collector is away; symbols just wait.
                    tracing::debug!(%error, "symbols wait for the collector");
                    if std::mem::take(&mut self.moved) {
                        // A network that cuts connections now and then is no collector that is away.
                        backoff.reset();
                    }
                    due = Instant::now() + backoff.next(error.asked());
                }
            }
        }
    }

    fn take_announced(&mut self) {
        let now = Instant::now();
        self.seen.try_iter().for_each(|object| self.queue.add(object, now));
    }

    /// Offers everything again where the batches reach another collector than before.
    fn meet_collector(&mut self) {
        let collector = self.progress.collector.load(Ordering::Relaxed);
        if self.collector != collector {
            if self.collector != 0 {
                tracing::info!("the collector is another: symbols are offered again");
                self.queue.offer_all_again(Instant::now(), NEW_COLLECTOR);
            }
            self.collector = collector;
        }
    }

    /// Looks at what is new, offers a group of objects, and uploads those that are wanted. What is done leaves the queue.
    async fn round(&mut self) -> Result<(), Later> {
        self.look()?;
        let offered = self.queue.due(OFFERED, Instant::now());
        if offered.is_empty() {
            return Ok(());
        }
        let offer = |(id, best): &(BuildId, Best)| Offer { build_id: id.to_string(), source: best.source, bytes: best.bytes };
        let offers = Offers { agent: self.agent.to_string(), offers: offered.iter().map(offer).collect() };
        let answer = self.client.offer(&offers).await?;
        let now = Instant::now();
        let mut sent = 0;
        for (id, _) in &offered {
            let text = id.to_string();
            if answer.later.contains(&text) {
                self.queue.put_off(id, now + LATER);
            } else if !answer.wanted.iter().any(|wanted| wanted.build_id == text) {
                self.queue.settle(id, now);
            }
        }
        for (id, best) in &offered {
            let Some(wanted) = answer.wanted.iter().find(|wanted| wanted.build_id == id.to_string()) else { continue };
            match self.upload(id, best, wanted).await? {
                Sent::Done => self.queue.settle(id, Instant::now()),
                Sent::Anew => {
                    self.queue.known(id, None);
                    self.queue.put_off(id, Instant::now() + LATER);
                }
            }
            sent += 1;
            self.take_announced();
            if self.queue.unknown().is_some() {
                // It may be smaller than all that is left of this group, and must not wait for them.
                break;
            }
        }
        // The collector leases a few at a time: there is room for more now.
        if sent > 0 {
            let later = offered.iter().filter(|(id, _)| answer.later.contains(&id.to_string()));
            later.for_each(|(id, _)| self.queue.put_off(id, Instant::now()));
        }
        Ok(())
    }

    /// Finds out what this host has for each object that is new.
    fn look(&mut self) -> Result<(), Later> {
        while let Some(object) = self.queue.unknown() {
            if let Some(pacer) = &mut self.pacer {
                pacer.pause(|| self.stop.is_raised());
            }
            if self.stop.is_raised() {
                return Err(Later::Stopping);
            }
            let id = object.build_id.clone();
            match Best::of(object, self.limit) {
                Ok(best) => self.queue.known(&id, Some(best)),
                Err(error) => {
                    match error {
                        // Nobody can change that here, and there are many.
                        BestError::NoSymbols => {
                            count(&self.progress.objects_without_symbols);
                            tracing::debug!(build_id = %id, path = object.path, "no symbols to upload");
                        }
                        error => self.skipped(object, &error),
                    }
                    self.queue.settle(&id, Instant::now());
                }
            }
        }
        Ok(())
    }

    /// Uploads an object, or says why it is left out. Only what may go better later is an error.
    async fn upload(&mut self, id: &BuildId, best: &Best, wanted: &Wanted) -> Result<Sent, Later> {
        let copy = self.queue.get(id).and_then(|waiting| best.open(&waiting.object).ok()).filter(|copy| copy.len() == best.bytes);
        let Some(mut copy) = copy else { return Ok(Sent::Anew) };
        let (mut offset, mut standstill, mut bytes) = (wanted.received.min(copy.len()), 0, 0);
        let mut buffer = vec![0; MAX_PART];
        while standstill < MAX_STANDSTILL {
            let len = usize::try_from(copy.len() - offset).map_or(MAX_PART, |left| left.min(MAX_PART));
            if let Err(error) = copy.read_at(offset, &mut buffer[..len]) {
                self.left_out(id, &error);
                return Ok(Sent::Done);
            }
            let body = self.paced(&buffer[..len]).await?;
            bytes += body.bytes.len() as u64;
            match self.client.part(id, &wanted.lease, offset, body).await? {
                Part::Next(next) => {
                    standstill = if next > offset { 0 } else { standstill + 1 };
                    self.moved |= next > offset;
                    offset = next.min(copy.len());
                }
                Part::Done => {
                    count(&self.progress.objects_uploaded);
                    tracing::debug!(build_id = %id, source = ?best.source, of = copy.len(), bytes, "symbols uploaded");
                    return Ok(Sent::Done);
                }
                Part::NoLease => return Ok(Sent::Anew),
                Part::Refused(status) => {
                    self.left_out(id, &format_args!("the collector refuses them with {status}"));
                    return Ok(Sent::Done);
                }
            }
        }
        self.left_out(id, &"the collector asks for the same part again and again");
        Ok(Sent::Done)
    }

    /// A part as it is sent, once the budget and the rate allow it.
    async fn paced(&mut self, part: &[u8]) -> Result<Body, Later> {
        if let Some(pacer) = &mut self.pacer {
            pacer.pause(|| self.stop.is_raised());
        }
        let body = Body::of(part);
        loop {
            let wait = self.rate.wait(Instant::now());
            if self.stop.is_raised() {
                return Err(Later::Stopping);
            }
            if wait.is_zero() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.raised() => {}
            }
        }
        self.rate.sent(body.bytes.len(), Instant::now());
        self.progress.symbol_bytes_sent.fetch_add(body.bytes.len() as u64, Ordering::Relaxed);
        Ok(body)
    }

    fn left_out(&self, id: &BuildId, why: &dyn std::fmt::Display) {
        if let Some(waiting) = self.queue.get(id) {
            self.skipped(&waiting.object, why);
        }
    }

    fn skipped(&self, object: &ObjectSeen, why: &dyn std::fmt::Display) {
        count(&self.progress.objects_skipped);
        tracing::info!(build_id = %object.build_id, path = object.path, %why, "symbols not uploaded");
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Lets everything else go first. Not `SCHED_IDLE` nor the lowest niceness: on a host that is always busy symbols would
/// never arrive, and the profiles of just that host would stay without names.
fn lower_priority() {
    const NICENESS: libc::c_int = 10;
    // SAFETY: setpriority takes no pointers. On Linux 0 is the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    if result != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "the uploader keeps its priority");
    }
}

#[cfg(test)]
mod tests;
