//! What the spool remembers beside its batches: `state.json`.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use flamekeeper_profile::{Ledger, LossReason};
use flamekeeper_wire::AgentId;
use serde::{Deserialize, Serialize};

use super::directory::Directory;

/// Numbers reserved at a time.
pub(super) const RESERVE: u64 = 1024;
const NAME: &str = "state.json";
const MAX_BYTES: u64 = 4 << 20;

/// See the invariants in [`super`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The agent's identity.
    pub(super) agent: AgentId,
    /// The machine that it belongs to.
    pub(super) machine: String,
    /// Numbers below this may have been used.
    pub(super) reserved: u64,
    /// Losses that no batch carries yet.
    pub(super) owed: Ledger,
    /// Losses that the batch of this number carries. Owed again where that batch was never written.
    pub(super) carried: Option<(u64, Ledger)>,
    /// Batches that are counted as lost and whose files may still be there.
    pub(super) leaving: Vec<u64>,
}

/// The form on disk.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    agent: String,
    machine: String,
    reserved: u64,
    owed: WrittenLedger,
    carried: Option<(u64, WrittenLedger)>,
    leaving: Vec<u64>,
}

/// A ledger by the names of its reasons.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct WrittenLedger {
    taken: u64,
    lost: BTreeMap<String, u64>,
}

impl From<&Ledger> for WrittenLedger {
    fn from(ledger: &Ledger) -> Self {
        Self { taken: ledger.taken, lost: ledger.losses().map(|(reason, count)| (reason.as_str().into(), count)).collect() }
    }
}

impl From<&WrittenLedger> for Ledger {
    fn from(written: &WrittenLedger) -> Self {
        let mut ledger = Self::new();
        ledger.take(written.taken);
        for (name, count) in &written.lost {
            ledger.lose(LossReason::parse(name), *count);
        }
        ledger
    }
}

impl State {
    /// The state on disk; a new one, with a new agent id, where there is none, where it cannot be read back, or where
    /// it belongs to another machine (a copied disk must not speak with the first one's voice).
    pub(super) fn load(directory: &Directory, machine: &str) -> io::Result<Self> {
        let bytes = match directory.read(NAME, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::fresh(machine, Ledger::new()),
            Err(error) => return Err(error),
        };
        let Some(state) = Self::parse(&bytes) else {
            tracing::error!("the spool's state cannot be read back: the agent gets a new id, and losses that it held are not known");
            return Self::fresh(machine, Ledger::new());
        };
        if !machine.is_empty() && !state.machine.is_empty() && state.machine != machine {
            tracing::warn!("the spool comes from another machine: the agent gets a new id");
            return Ok(Self { carried: state.carried, leaving: state.leaving, ..Self::fresh(machine, state.owed)? });
        }
        Ok(state)
    }

    fn fresh(machine: &str, owed: Ledger) -> io::Result<Self> {
        Ok(Self { agent: random_agent()?, machine: machine.into(), reserved: 0, owed, carried: None, leaving: Vec::new() })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(bytes).ok().filter(|written: &Written| written.version == 1)?;
        Some(Self {
            agent: written.agent.parse().ok()?,
            machine: written.machine,
            reserved: written.reserved,
            owed: (&written.owed).into(),
            carried: written.carried.as_ref().map(|(sequence, ledger)| (*sequence, ledger.into())),
            leaving: written.leaving,
        })
    }

    /// Writes the state durably.
    pub(super) fn save(&self, directory: &Directory) -> io::Result<()> {
        let written = Written {
            version: 1,
            agent: self.agent.to_string(),
            machine: self.machine.clone(),
            reserved: self.reserved,
            owed: (&self.owed).into(),
            carried: self.carried.as_ref().map(|(sequence, ledger)| (*sequence, ledger.into())),
            leaving: self.leaving.clone(),
        };
        directory.write(NAME, &serde_json::to_vec(&written)?)
    }
}

/// 128 random bits, in hexadecimal digits.
fn random_agent() -> io::Result<AgentId> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let text = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    text.parse().map_err(io::Error::other)
}
