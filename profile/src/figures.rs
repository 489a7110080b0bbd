//! What an agent says of itself: what it uses, what it may use, and how it restrains itself to stay within; and of its host.

/// One figure. All are whole numbers in the unit that the name ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Figure {
    /// CPU time of the last minute (or since the start, while that is shorter), in millionths of a core.
    CpuMicrocores,
    /// How much of that it may use.
    CpuCeilingMicrocores,
    /// Memory that counts against the ceiling: the agent's anonymous memory and its rings.
    MemoryBytes,
    /// How much of that it may use.
    MemoryCeilingBytes,
    /// Resident memory of its whole process, files that it maps included.
    ResidentBytes,
    /// Memory of all rings.
    RingBytes,
    /// Memory of what it could forget and read again: unwind information, processes, names of generated code.
    CacheBytes,
    /// Samples a second on each busy CPU, now, in thousandths.
    FrequencyMillihertz,
    /// Samples a second that are configured, in thousandths.
    ConfiguredMillihertz,
    /// Processes that it knows.
    Processes,
    /// Objects that it holds unwind information of.
    Objects,
    /// Batches that wait on its disk.
    SpoolBatches,
    /// Bytes of them.
    SpoolBytes,
    /// 1 while uploads of symbols pause.
    UploadsPaused,
    /// By how many steps the frequency is lowered; each about halves it.
    FrequencySteps,
    /// By how many steps the caches are shrunk; each halves them.
    CacheSteps,
    /// 1 while the rings are read less often.
    WakesSlowed,
    /// Memory of the host.
    HostMemoryBytes,
    /// How much of it programs could have without swapping (`MemAvailable`).
    HostAvailableBytes,
}

impl Figure {
    /// All figures.
    pub const ALL: [Self; 19] = [
        Self::CpuMicrocores,
        Self::CpuCeilingMicrocores,
        Self::MemoryBytes,
        Self::MemoryCeilingBytes,
        Self::ResidentBytes,
        Self::RingBytes,
        Self::CacheBytes,
        Self::FrequencyMillihertz,
        Self::ConfiguredMillihertz,
        Self::Processes,
        Self::Objects,
        Self::SpoolBatches,
        Self::SpoolBytes,
        Self::UploadsPaused,
        Self::FrequencySteps,
        Self::CacheSteps,
        Self::WakesSlowed,
        Self::HostMemoryBytes,
        Self::HostAvailableBytes,
    ];

    /// The figure's name, in snake case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CpuMicrocores => "cpu_microcores",
            Self::CpuCeilingMicrocores => "cpu_ceiling_microcores",
            Self::MemoryBytes => "memory_bytes",
            Self::MemoryCeilingBytes => "memory_ceiling_bytes",
            Self::ResidentBytes => "resident_bytes",
            Self::RingBytes => "ring_bytes",
            Self::CacheBytes => "cache_bytes",
            Self::FrequencyMillihertz => "frequency_millihertz",
            Self::ConfiguredMillihertz => "configured_millihertz",
            Self::Processes => "processes",
            Self::Objects => "objects",
            Self::SpoolBatches => "spool_batches",
            Self::SpoolBytes => "spool_bytes",
            Self::UploadsPaused => "uploads_paused",
            Self::FrequencySteps => "frequency_steps",
            Self::CacheSteps => "cache_steps",
            Self::WakesSlowed => "wakes_slowed",
            Self::HostMemoryBytes => "host_memory_bytes",
            Self::HostAvailableBytes => "host_available_bytes",
        }
    }

    /// The figure of a name; none for one that this version does not know.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.as_str() == name)
    }
}

/// An agent's figures at the moment it closed a batch. A sender that is no Flamekeeper agent has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentFigures {
    values: [Option<u64>; Figure::ALL.len()],
}

impl AgentFigures {
    /// The value; none where the agent did not tell it.
    #[must_use]
    pub const fn get(&self, figure: Figure) -> Option<u64> {
        self.values[figure as usize]
    }

    /// Sets a value.
    pub const fn set(&mut self, figure: Figure, value: u64) {
        self.values[figure as usize] = Some(value);
    }

    /// All that are told.
    pub fn iter(&self) -> impl Iterator<Item = (Figure, u64)> {
        Figure::ALL.into_iter().filter_map(|figure| Some((figure, self.get(figure)?)))
    }

    /// Whether none is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every figure stands in its own place and reads back from its name; what is not told is absent, not 0.
    #[test]
    fn figures_keep_apart() {
        let mut figures = AgentFigures::default();
        assert!(figures.is_empty());
        for (value, figure) in (0..).zip(Figure::ALL) {
            assert_eq!((figure as u64, Figure::parse(figure.as_str())), (value, Some(figure)));
            assert_eq!(figures.get(figure), None);
            figures.set(figure, value);
        }
        assert!(figures.iter().zip(0..).all(|((figure, value), place)| value == place && figure as u64 == place));
        assert_eq!((figures.iter().count(), Figure::parse("moon_bytes")), (Figure::ALL.len(), None));
    }
}
