//! The values of `[budget]` and `[metrics]`, each with its rule and its text form.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use flamekeeper_wire::units::{parse_bytes, parse_duration, show_bytes};
use serde::Deserialize;

use super::value::{ValueError, from_text, wrong};
use crate::budget::{Ceilings, DEFAULT_HORIZON, DEFAULT_MEMORY};

/// What the agent may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetConfig {
    /// CPU time; none: 1 % of a core for four CPUs.
    pub cpu: Option<CpuCeiling>,
    /// Over how long that holds.
    pub horizon: Horizon,
    /// Memory.
    pub memory: MemoryCeiling,
}

impl BudgetConfig {
    /// The ceilings on a host of so many CPUs.
    #[must_use]
    pub fn ceilings(&self, cpus: usize) -> Ceilings {
        let cpu = self.cpu.map_or(Ceilings::for_cpus(cpus).cpu, CpuCeiling::cores);
        Ceilings { cpu, horizon: self.horizon.0, memory: self.memory.0 }
    }
}

/// The agent's own figures for others to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where they are served; none: nowhere.
    pub listen: Option<SocketAddr>,
}

/// CPU time in per cent of one core: 0.05 to 6400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "f64")]
pub struct CpuCeiling {
    microcores: u32,
}

impl CpuCeiling {
    pub(super) const EXPECTED: &str = "a number of per cent of one core from 0.05 to 6400, such as 0.5";

    /// Cores.
    #[must_use]
    pub fn cores(self) -> f64 {
        f64::from(self.microcores) / 1e6
    }
}

impl TryFrom<f64> for CpuCeiling {
    type Error = ValueError;

    fn try_from(percent: f64) -> Result<Self, ValueError> {
        if !(0.05..=6400.0).contains(&percent) {
            return wrong(Self::EXPECTED, percent);
        }
        // The bounds keep it between 500 and 64 million.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let microcores = (percent * 1e4).round() as u32;
        Ok(Self { microcores })
    }
}

impl FromStr for CpuCeiling {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.trim().parse::<f64>().map_or_else(|_| wrong(Self::EXPECTED, text), Self::try_from)
    }
}

impl fmt::Display for CpuCeiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f64::from(self.microcores) / 1e4).fmt(f)
    }
}

/// Memory: at least 32 MiB. Text: `128MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MemoryCeiling(pub u64);

impl MemoryCeiling {
    pub(super) const EXPECTED: &str = "a size of at least 32MiB with its unit, such as \"128MiB\"";
}

impl Default for MemoryCeiling {
    fn default() -> Self {
        Self(DEFAULT_MEMORY)
    }
}

impl FromStr for MemoryCeiling {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match parse_bytes(text) {
            Some(bytes) if bytes >= 32 << 20 => Ok(Self(bytes)),
            _ => wrong(Self::EXPECTED, text),
        }
    }
}

from_text!(MemoryCeiling);

impl fmt::Display for MemoryCeiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_bytes(self.0, f)
    }
}

/// Over how long the CPU ceiling holds: 6 s to 10 min. Text: `60s`, `1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Horizon(Duration);

impl Horizon {
    pub(super) const EXPECTED: &str = "a time from 6s to 10m with its unit, such as \"60s\"";
}

impl Default for Horizon {
    fn default() -> Self {
        Self(DEFAULT_HORIZON)
    }
}

impl FromStr for Horizon {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match parse_duration(text) {
            Some(length) if (Duration::from_secs(6)..=Duration::from_secs(600)).contains(&length) => Ok(Self(length)),
            _ => wrong(Self::EXPECTED, text),
        }
    }
}

from_text!(Horizon);

impl fmt::Display for Horizon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX) {
            millis if millis.is_multiple_of(1000) => write!(f, "{}s", millis / 1000),
            millis => write!(f, "{millis}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values print what they read, and refuse what makes no sense.
    #[test]
    fn texts() {
        for (text, microcores) in [("0.5", 5_000), ("0.05", 500), ("100", 1_000_000)] {
            let ceiling: CpuCeiling = text.parse().unwrap();
            assert_eq!((ceiling.microcores, ceiling.to_string().as_str()), (microcores, text));
        }
        for bad in ["0", "-1", "NaN", "inf", "0.5%", ""] {
            assert!(bad.parse::<CpuCeiling>().is_err(), "{bad}");
        }
        assert_eq!("60s".parse::<Horizon>().unwrap(), Horizon::default());
        assert_eq!("128MiB".parse::<MemoryCeiling>().unwrap(), MemoryCeiling::default());
        assert!("5s".parse::<Horizon>().is_err() && "31MiB".parse::<MemoryCeiling>().is_err());
        let config = BudgetConfig { cpu: Some("2".parse().unwrap()), ..BudgetConfig::default() };
        assert!((config.ceilings(64).cpu - 0.02).abs() < 1e-9 && (BudgetConfig::default().ceilings(64).cpu - 0.16).abs() < 1e-9);
    }
}
