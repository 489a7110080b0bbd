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
//! A process that begins and ends between two readings is not seen. What was read and is lost has a counter (`memory_readings_lost_total`).

mod account;
mod allowance;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod parse;
mod reader;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use flamekeeper_profile::memory::{MemoryKind, over_time};
use flamekeeper_profile::{FrameKind, Labels, Series, StackEnd, Svma, Tables, label};

pub(crate) use self::account::Reading;
use self::account::{Account, Sums};
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
    readings: Receiver<Reading>,
    end: Arc<AtomicBool>,
    accounts: HashMap<u32, Account, foldhash::fast::RandomState>,
    ended: Vec<Account>,
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
        let end = Arc::new(AtomicBool::new(false));
        let reader = Reader::new(window.min(INTERVAL), ceilings, hidden, (sender, Arc::clone(&end)), Arc::clone(stats));
        match std::thread::Builder::new().name("fk-memory".into()).spawn(move || reader.run()) {
            Ok(_) => {
                let (rate, horizon) = ceilings.map_or((RATE, DEFAULT_HORIZON), |ceilings| (ceilings.cpu * SHARE, ceilings.horizon));
                let naming = Allowance::new(rate, rate * horizon.as_secs_f64());
                Some(Self {
                    readings,
                    end,
                    accounts: HashMap::default(),
                    ended: Vec::new(),
                    from: clock::monotonic(),
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
        let waiting: Vec<Reading> = self.readings.try_iter().take(WAITING).collect();
        let round = measure::thread_cpu();
        for reading in waiting {
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
                std::collections::hash_map::Entry::Occupied(entry) => {
                    let account = entry.into_mut();
                    account.read(reading);
                    account
                }
                std::collections::hash_map::Entry::Vacant(entry) if room => entry.insert(Account::new(generation, born, reading)),
                std::collections::hash_map::Entry::Vacant(_) => {
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

    /// Ends a window of this length: its series over its tables.
    pub(crate) fn close(&mut self, length: u64, now: u64, tables: &mut Tables) -> Vec<Series> {
        let edge = self.from.saturating_add(length);
        let to = if edge.abs_diff(now) <= APART { edge } else { now };
        let from = std::mem::replace(&mut self.from, to);
        let mut groups: BTreeMap<Labels, Sums> = BTreeMap::new();
        for account in self.accounts.values().chain(&self.ended) {
            let sums = account.sums(from, to);
            let Some(named) = account.named.as_ref() else {
                self.stats.memory_lost.add(1);
                continue;
            };
            if named.excluded {
                continue;
            }
            let mut labels = named.labels.clone();
            let resident = sums[MemoryKind::Resident as usize].max(sums[MemoryKind::Swap as usize]);
            if resident < u128::from(OWN_SERIES) * u128::from(to.saturating_sub(from)) {
                labels.set(label::PID, "");
            }
            groups.entry(labels).or_default().iter_mut().zip(sums).for_each(|(group, sum)| *group = group.saturating_add(sum));
        }
        // What ended after the edge was counted up to it only.
        self.ended.retain(|account| account.ended.is_some_and(|ended| ended > to));
        self.forget(to);
        series(&groups, tables)
    }

    /// Forgets what no window needs any more, and processes that ended unseen.
    fn forget(&mut self, to: u64) {
        self.ended.iter_mut().for_each(|account| account.settle(to));
        self.accounts.retain(|pid, account| {
            account.settle(to);
            account.last().saturating_add(STALE) > to || std::fs::exists(format!("/proc/{pid}")).unwrap_or(false)
        });
    }

    /// Bytes that it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        // An account keeps two or three readings.
        (self.accounts.len() + self.ended.len()) * (size_of::<Account>() + 3 * size_of::<Reading>())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
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
