//! How much memory each process has, always and without the process's doing: resident, proportional, anonymous, of files, shared,
//! swapped out.
//!
//! A thread of its own (`reader`) reads procfs, within a share of the agent's CPU ceiling; where that is too little for all processes, each is
//! read less often. `account` makes a sum over time of what was read, for each window, so that a level may be added up like CPU time
//! ([`flamekeeper_profile::memory`]). The parsers (`parse`) are functions of bytes.
//!
//! A process that has less than [`OWN_SERIES`] shares its series with others of its labels that have little: its process id is left out. So hundreds of
//! small processes are not hundreds of series, and nothing is missing from their service's sum.
//!
//! Beside it, the cgroups of version 2 (`cgroup`): what they have and may have, and what happened in them for want of memory; and what happened on the
//! host: processes killed, and time in which tasks waited for memory (PSI). Where the kernel tells none of it, nothing is said.
//!
//! A process that begins and ends between two readings is not seen. What was read and is lost has a counter (`memory_readings_lost_total`).

mod account;
mod allowance;
mod cgroup;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod parse;
mod reader;

use std::collections::{BTreeMap, HashMap, hash_map};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use flamekeeper_profile::memory::{MemoryEvent, MemoryKind, over_time};
use flamekeeper_profile::{FrameKind, Labels, Series, StackEnd, Svma, Tables, label};

pub(crate) use self::account::Reading;
use self::account::{Account, Events, Sums, Told};
use self::allowance::Allowance;
use self::reader::{MAX_PROCESSES, RATE, Reader, SHARE};
use crate::budget::{Ceilings, DEFAULT_HORIZON, measure};
use crate::engine::EngineStats;
use crate::identity::Named;
use crate::perf::clock;
use crate::process::users::HiddenUsers;

/// A process with a mean of so many resident bytes in a window has a series of its own.
const OWN_SERIES: u64 = 16 << 20;
/// The longest time between two readings of a process, where the budget allows it.
const INTERVAL: Duration = Duration::from_secs(10);
/// Readings that wait for the sampling thread.
const WAITING: usize = 4096;
/// An account that was not read for so long is looked at: its process may have ended unseen. In nanoseconds.
const STALE: u64 = 60_000_000_000;
/// By how much the window's end may differ from what its length says, in nanoseconds: more is a clock that jumped.
const APART: u64 = 2_000_000_000;
/// The part of what a horizon may take to find out whose memory it is that may be taken at once: for some hundred processes.
const NAMED_AT_ONCE: f64 = 0.25;
/// CPU time that finding out whose memory it is may take in one round: what is left over is found out in the next pass.
const NAMING: Duration = Duration::from_millis(10);
/// Programs that ended in a window and are kept to its end, at most.
const MAX_ENDED: usize = 4096;

/// What the rest of the agent knows of a process that was read.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Its generation, and when that began; 0 where that is not known.
    pub(crate) generation: u64,
    pub(crate) born: u64,
    /// Whose it is; none where that is yet to be found out.
    pub(crate) named: Option<Arc<Named>>,
}

/// The memory of all processes.
#[derive(Debug)]
pub(crate) struct Memory {
    readings: Receiver<Told>,
    /// Ends the thread when it is dropped.
    _end: SyncSender<Infallible>,
    accounts: HashMap<u32, Account, foldhash::fast::RandomState>,
    ended: Vec<Account>,
    /// By path.
    cgroups: HashMap<Arc<str>, Account, foldhash::fast::RandomState>,
    /// What happened in the open window, by the labels of where; that of the host by itself.
    events: BTreeMap<Labels, Events>,
    host: Events,
    /// Where the open window begins, on the clock of samples.
    from: u64,
    /// What finding out whose memory it is may take: for each program once.
    naming: Allowance,
    stats: Arc<EngineStats>,
}

impl Memory {
    /// Starts the thread. None where that cannot be, which is logged.
    pub(crate) fn start(window: Duration, ceilings: Option<Ceilings>, hidden: HiddenUsers, stats: &Arc<EngineStats>) -> Option<Self> {
        let (sender, readings) = sync_channel(WAITING);
        let (end, ended) = sync_channel(0);
        let reader = Reader::new(window.min(INTERVAL), ceilings, hidden, (sender, ended), Arc::clone(stats));
        match std::thread::Builder::new().name("fk-memory".into()).spawn(move || reader.run()) {
            Ok(_) => {
                let (rate, horizon) = ceilings.map_or((RATE, DEFAULT_HORIZON), |ceilings| (ceilings.cpu * SHARE, ceilings.horizon));
                let naming = Allowance::new(rate, rate * horizon.as_secs_f64() * NAMED_AT_ONCE);
                Some(Self {
                    readings,
                    _end: end,
                    accounts: HashMap::default(),
                    ended: Vec::new(),
                    from: clock::monotonic(),
                    cgroups: HashMap::default(),
                    events: BTreeMap::new(),
                    host: Events::default(),
                    naming,
                    stats: Arc::clone(stats),
                })
            }
            Err(error) => {
                tracing::error!(%error, "the memory of processes is not read: no thread to read it");
                None
            }
        }
    }

    /// Takes what was read. `facts` says what is known of a process, and may find it out where it is told so; none where it has no
    /// part in this.
    pub(crate) fn take(&mut self, mut facts: impl FnMut(&Reading, bool) -> Option<Facts>) {
        // The channel is bounded, and the thread that fills it is slow.
        let waiting: Vec<Told> = self.readings.try_iter().take(WAITING).collect();
        if waiting.is_empty() {
            return;
        }
        let round = measure::thread_cpu();
        self.naming.slow(self.stats.is_restrained());
        for told in waiting {
            let reading = match told {
                Told::Process(reading) => reading,
                Told::Cgroup(path, reading, events) => {
                    self.take_cgroup(path, reading, events);
                    continue;
                }
                Told::Gone(path) => {
                    self.end_cgroup(&path);
                    continue;
                }
                Told::Host(events) => {
                    add(&mut self.host, &events);
                    continue;
                }
            };
            let begun = measure::thread_cpu();
            let may_ask = self.naming.is_open(Instant::now()) && begun.saturating_sub(round) < NAMING;
            let facts = facts(&reading, may_ask);
            self.naming.charge(begun);
            let Some(Facts { generation, born, named }) = facts else {
                // A user that is left alone may have it now.
                self.accounts.remove(&reading.pid);
                continue;
            };
            let other = self
                .accounts
                .get(&reading.pid)
                .is_some_and(|account| generation != 0 && account.generation != generation && account.generation != 0);
            if other {
                self.ended(reading.pid, if born == 0 { reading.at } else { born });
            }
            if reading.at < born {
                // It tells of the program before this one.
                continue;
            }
            let room = self.accounts.len() < MAX_PROCESSES;
            let account = match self.accounts.entry(reading.pid) {
                hash_map::Entry::Occupied(entry) => {
                    let account = entry.into_mut();
                    account.read(reading);
                    account
                }
                hash_map::Entry::Vacant(entry) if room => entry.insert(Account::new(generation, born, reading)),
                hash_map::Entry::Vacant(_) => {
                    self.stats.memory_lost.add(1);
                    continue;
                }
            };
            if account.generation == 0 {
                account.generation = generation;
            }
            account.named = named.or(account.named.take());
        }
    }

    /// A cgroup was read: it is labelled as its largest process is.
    fn take_cgroup(&mut self, path: Arc<str>, reading: Reading, events: Events) {
        let named = self.accounts.get(&reading.pid).and_then(|account| account.named.clone());
        let account = match self.cgroups.entry(path) {
            hash_map::Entry::Occupied(entry) => {
                let account = entry.into_mut();
                account.read(reading);
                account
            }
            hash_map::Entry::Vacant(entry) => entry.insert(Account::new(0, reading.at, reading)),
        };
        account.named = named.or(account.named.take());
        if events == Events::default() {
            return;
        }
        match account.named.as_deref() {
            Some(named) if named.excluded => {}
            Some(named) if self.events.len() < MAX_PROCESSES => add(self.events.entry(place(&named.labels)).or_default(), &events),
            _ => self.stats.memory_lost.add(1),
        }
    }

    fn end_cgroup(&mut self, path: &str) {
        if let Some(mut account) = self.cgroups.remove(path) {
            account.ended = Some(account.last());
            if self.ended.len() < MAX_ENDED {
                self.ended.push(account);
            }
        }
    }

    /// A process has ended, or runs another program from now on.
    pub(crate) fn ended(&mut self, pid: u32, at: u64) {
        if let Some(mut account) = self.accounts.remove(&pid) {
            if self.ended.len() >= MAX_ENDED {
                self.stats.memory_lost.add(1);
                return;
            }
            account.ended = Some(at);
            self.ended.push(account);
        }
    }

    /// Ends a window of this length: its series over its tables. `host` are the labels of what happened on the host as a whole.
    pub(crate) fn close(&mut self, length: u64, now: u64, host: Labels, tables: &mut Tables) -> Vec<Series> {
        let edge = self.from.saturating_add(length);
        let to = if edge.abs_diff(now) <= APART { edge } else { now };
        let from = std::mem::replace(&mut self.from, to);
        let mut groups: BTreeMap<Labels, Sums> = BTreeMap::new();
        for account in self.accounts.values().chain(&self.ended).chain(self.cgroups.values()) {
            let sums = account.sums(from, to);
            let Some(named) = account.named.as_ref() else {
                self.stats.memory_lost.add(1);
                continue;
            };
            if named.excluded {
                continue;
            }
            let of_cgroup = sums[MemoryKind::Cgroup as usize] > 0;
            let mut labels = if of_cgroup { place(&named.labels) } else { named.labels.clone() };
            let resident = sums[MemoryKind::Resident as usize].max(sums[MemoryKind::Swap as usize]);
            if resident < u128::from(OWN_SERIES) * u128::from(to.saturating_sub(from)) {
                labels.set(label::PID, "");
            }
            groups.entry(labels).or_default().iter_mut().zip(sums).for_each(|(group, sum)| *group = group.saturating_add(sum));
        }
        // What ended after the edge was counted up to it only.
        self.ended.retain(|account| account.ended.is_some_and(|ended| ended > to));
        self.forget(to);
        let mut series = series(&groups, tables);
        let mut events = std::mem::take(&mut self.events);
        let on_host = std::mem::take(&mut self.host);
        add(events.entry(host).or_default(), &on_host);
        series.extend(happened(&events, tables));
        series
    }

    /// Forgets what no window needs any more, and processes that ended unseen.
    fn forget(&mut self, to: u64) {
        self.ended.iter_mut().chain(self.cgroups.values_mut()).for_each(|account| account.settle(to));
        self.accounts.retain(|pid, account| {
            account.settle(to);
            account.last().saturating_add(STALE) > to || std::fs::exists(format!("/proc/{pid}")).unwrap_or(false)
        });
    }

    /// Bytes that it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        // An account keeps two or three readings.
        (self.accounts.len() + self.ended.len() + self.cgroups.len()) * (size_of::<Account>() + 3 * size_of::<Reading>())
    }
}

/// What of a process's labels holds for its cgroup.
fn place(labels: &Labels) -> Labels {
    let mut labels = labels.clone();
    [label::PID, label::EXE, label::COMM].into_iter().for_each(|name| labels.set(name, ""));
    labels
}

fn add(sum: &mut Events, events: &Events) {
    sum.iter_mut().zip(events).for_each(|(sum, events)| *sum = sum.saturating_add(*events));
}

/// The series of what happened.
fn happened(events: &BTreeMap<Labels, Events>, tables: &mut Tables) -> Vec<Series> {
    let mut series = Vec::new();
    for kind in MemoryEvent::ALL {
        let mut there = events.iter().map(|(labels, counts)| (labels, counts[kind as usize])).filter(|(_, count)| *count > 0).peekable();
        if there.peek().is_none() {
            continue;
        }
        let frame = tables.intern_named(FrameKind::Other, None, Svma(0), kind.frame());
        let stack = tables.intern_stack(&[frame], StackEnd::Root);
        series.extend(there.map(|(labels, count)| Series {
            labels: labels.clone(),
            sample_type: kind.sample_type(),
            values: vec![(stack, count)],
        }));
    }
    series
}

fn series(groups: &BTreeMap<Labels, Sums>, tables: &mut Tables) -> Vec<Series> {
    let mut series = Vec::new();
    for kind in MemoryKind::ALL {
        let frame = tables.intern_named(FrameKind::Other, None, Svma(0), kind.frame());
        let stack = tables.intern_stack(&[frame], StackEnd::Root);
        for (labels, sums) in groups {
            let value = over_time(sums[kind as usize]);
            if value > 0 {
                series.push(Series { labels: labels.clone(), sample_type: kind.sample_type(), values: vec![(stack, value)] });
            }
        }
    }
    series
}
