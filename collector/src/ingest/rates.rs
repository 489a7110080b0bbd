//! How often one agent may send: one that runs wild must not take the room of all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flamekeeper_wire::AgentId;

/// Batches a second that one agent may send for long. One window in ten seconds is usual, the shortest window is a second; an agent
/// that was cut off for a day sends some thousand, one after the other.
const RATE: f64 = 100.0;
/// Batches that it may send at once beyond that.
const BURST: f64 = 1000.0;
/// Agents that are remembered. Beyond them those that have all of their burst left are forgotten, which changes nothing for them.
const AGENTS: usize = 20_000;
/// How often it is looked who can be forgotten.
const SWEEP: Duration = Duration::from_secs(1);

/// What is left to each agent: a bucket of tokens that fills with time.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<Agents>);

#[derive(Debug, Default)]
struct Agents {
    buckets: HashMap<AgentId, Bucket>,
    swept: Option<Instant>,
}

impl Agents {
    /// Whether there is room for one more.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.buckets.len() >= AGENTS && self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP) {
            self.swept = Some(now);
            self.buckets.retain(|_, bucket| bucket.filled(now).left < BURST);
        }
        self.buckets.len() < AGENTS
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(now: Instant) -> Self {
        Self { left: BURST, at: now }
    }

    fn filled(self, now: Instant) -> Self {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * RATE;
        Self { left: (self.left + gained).min(BURST), at: now }
    }
}

impl Rates {
    /// Whether an agent may send one more batch now.
    pub(super) fn admit(&self, agent: &AgentId, now: Instant) -> bool {
        let mut agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // So many at once are no agents: their names are made up.
        if !agents.buckets.contains_key(agent) && !agents.has_room(now) {
            return false;
        }
        let bucket = agents.buckets.entry(agent.clone()).or_insert_with(|| Bucket::full(now));
        *bucket = bucket.filled(now);
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn agent(name: &str) -> AgentId {
        name.parse().unwrap()
    }

    /// An agent may send its burst and then as many as the rate gives; another one is not concerned.
    #[test]
    fn one_agent() {
        let (rates, start) = (Rates::default(), Instant::now());
        let wild = agent("wild");
        assert_eq!((0..2000).filter(|_| rates.admit(&wild, start)).count(), 1000);
        assert!(rates.admit(&agent("calm"), start));
        let later = start + Duration::from_millis(505);
        assert_eq!((0..200).filter(|_| rates.admit(&wild, later)).count(), 50);
        let rested = start + Duration::from_secs(3600);
        assert_eq!((0..2000).filter(|_| rates.admit(&wild, rested)).count(), 1000);
    }

    /// Names that are made up fill no memory, and end nobody's turn for long.
    #[test]
    fn many_agents() {
        let (rates, start) = (Rates::default(), Instant::now());
        let admitted = (0..3 * AGENTS).filter(|number| rates.admit(&agent(&format!("a{number}")), start)).count();
        assert_eq!((admitted, rates.0.lock().unwrap().buckets.len()), (AGENTS, AGENTS));
        assert!(rates.admit(&agent("real"), start + Duration::from_secs(1)));
        assert_eq!(rates.0.lock().unwrap().buckets.len(), 1);
    }
}
