//! The budget: ceilings on the agent's own CPU time and memory, and what it does to stay below them.
//!
//! - `cpu` and `memory` decide, from what was used, how strongly to restrain; pure, tested against simulated loads.
//! - `frequency` and `limits` say what a restraint means: the period of samples, the bounds of caches.
//! - `measure` reads what was used. `governor` ties these together; the engine asks it between rounds and acts.
//!
//! **What counts.** CPU time of the whole process where the agent has it to itself, else that of its own threads. Memory: the
//! anonymous memory of the process (where it is the agent's own) and the rings, which are locked memory.
//!
//! **What holds.** CPU: over the horizon (a minute), not over each second, so that start-up and an upload may be quick. A
//! start may take up to the whole horizon's share at once. Memory: every structure that other programs can make grow has a
//! bound of its own derived from the ceiling (`limits`), so that the ceiling does not rest on measuring in time; measuring
//! covers what they do not see (the allocator's gaps).
//!
//! **What it does,** mildest first: uploads of symbols pause, and reading the memory of processes has half its time; the
//! frequency falls step by step; then the rings and the memory of processes are read less often and new processes are not
//! copied from their parents. Caches shrink by halves. The copy of the stack and the rings stay as they were opened: the kernel
//! takes both from the open event, and between closing one and opening the next it would drop records without counting them.

pub(crate) mod cpu;
pub(crate) mod frequency;
pub(crate) mod governor;
pub(crate) mod limits;
pub(crate) mod measure;
pub(crate) mod memory;
pub(crate) mod pacer;

use std::time::Duration;

/// What the agent may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceilings {
    /// CPU time, in cores: 0.005 is half a per cent of one.
    pub cpu: f64,
    /// Over how long the CPU ceiling holds.
    pub horizon: Duration,
    /// Memory in bytes.
    pub memory: u64,
}

/// CPU time by default, in cores for each CPU: 1 % of a core for four.
const CPU_SHARE: f64 = 0.0025;
/// The least default: below two CPUs' worth, what an agent does at rest would be too large a part.
const CPU_FLOOR: f64 = 0.005;
/// Memory by default, in bytes.
pub const DEFAULT_MEMORY: u64 = 128 << 20;
/// The horizon by default.
pub const DEFAULT_HORIZON: Duration = Duration::from_secs(60);

impl Ceilings {
    /// The default for a host of so many CPUs.
    #[must_use]
    pub fn for_cpus(cpus: usize) -> Self {
        // A count of CPUs is far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let cpu = (CPU_SHARE * cpus as f64).max(CPU_FLOOR);
        Self { cpu, horizon: DEFAULT_HORIZON, memory: DEFAULT_MEMORY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One per cent of a core for four CPUs, and not less than half of one.
    #[test]
    fn defaults() {
        for (cpus, cpu) in [(0, 0.005), (1, 0.005), (2, 0.005), (4, 0.01), (64, 0.16)] {
            assert!((Ceilings::for_cpus(cpus).cpu - cpu).abs() < 1e-9, "{cpus} CPUs");
        }
    }
}
