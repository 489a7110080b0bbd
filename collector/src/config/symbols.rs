//! The table `[symbols]`.

use std::fmt;
use std::path::PathBuf;

use flamekeeper_symbolizer::child::ChildLimits;
use serde::Deserialize;

use super::value::{ByteSize, Niceness, ServerUrl, Span};
use crate::debuginfod::DebuginfodServers;

/// How symbols are kept and converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolsConfig {
    /// Most bytes that they take on disk.
    pub max_bytes: u64,
    /// What the conversion of one object may take.
    pub limits: ChildLimits,
    /// The program that converts, a `flamekeeper` of this version.
    pub converter: PathBuf,
    /// Servers that are asked for objects without symbols; none by default.
    pub debuginfod: DebuginfodServers,
}

impl Default for SymbolsConfig {
    fn default() -> Self {
        let debuginfod = DebuginfodServers { urls: Vec::new(), ca: None, ahead: true };
        Self { max_bytes: 20_000_000_000, limits: ChildLimits::default(), converter: "/proc/self/exe".into(), debuginfod }
    }
}

/// The table as written, and the flags: what is absent keeps its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct RawSymbols {
    /// How many bytes symbols may take on disk; above it, those that were not used for longest go first [default: 20GB]
    #[arg(id = "symbols_max_bytes", long = "symbols-max-bytes", value_name = "SIZE", env = "FLAMEKEEPER_SYMBOLS_MAX_BYTES")]
    pub max_bytes: Option<ByteSize>,
    /// Memory that the conversion of one object may take; one that needs more stays without names [default: 2GiB]
    #[arg(long = "symbols-convert-memory", value_name = "SIZE", env = "FLAMEKEEPER_SYMBOLS_CONVERT_MEMORY")]
    pub convert_memory: Option<ByteSize>,
    /// CPU time that it may take [default: 5m]
    #[arg(long = "symbols-convert-cpu", value_name = "TIME", env = "FLAMEKEEPER_SYMBOLS_CONVERT_CPU")]
    pub convert_cpu: Option<Span>,
    /// Time by the clock that it may take, waiting for the CPU included [default: 1h]
    #[arg(long = "symbols-convert-time", value_name = "TIME", env = "FLAMEKEEPER_SYMBOLS_CONVERT_TIME")]
    pub convert_time: Option<Span>,
    /// How nice conversions are to other processes, 0 to 19 [default: 10]
    #[arg(long = "symbols-convert-nice", value_name = "NICE", env = "FLAMEKEEPER_SYMBOLS_CONVERT_NICE")]
    pub convert_nice: Option<Niceness>,
    /// Program that converts: a flamekeeper of this version [default: /proc/self/exe, the collector's own]
    #[arg(long = "symbols-converter", value_name = "FILE", env = "FLAMEKEEPER_SYMBOLS_CONVERTER")]
    pub converter: Option<PathBuf>,
    /// debuginfod servers that are asked for objects without symbols, with a space between two [default: none]
    #[arg(long = "symbols-debuginfod-urls", value_name = "URLS", env = "DEBUGINFOD_URLS", value_delimiter = ' ')]
    pub debuginfod_urls: Option<Vec<ServerUrl>>,
    /// Certificates (PEM) of authorities that debuginfod servers with https may be known by, beside those that this host trusts
    #[arg(long = "symbols-debuginfod-ca", alias = "debuginfod-ca", value_name = "FILE", env = "FLAMEKEEPER_SYMBOLS_DEBUGINFOD_CA")]
    pub debuginfod_ca: Option<PathBuf>,
    /// Whether debuginfod servers are asked for objects as soon as profiles bring them, slowly, before a query wants them [default: true]
    #[arg(long = "symbols-debuginfod-ahead", value_name = "BOOL", env = "FLAMEKEEPER_SYMBOLS_DEBUGINFOD_AHEAD")]
    pub debuginfod_ahead: Option<bool>,
}

impl RawSymbols {
    /// What is written, over another configuration.
    pub(super) fn over(self, config: SymbolsConfig) -> SymbolsConfig {
        let limits = config.limits;
        SymbolsConfig {
            max_bytes: self.max_bytes.map_or(config.max_bytes, |bytes| bytes.0),
            limits: ChildLimits {
                memory_bytes: self.convert_memory.map_or(limits.memory_bytes, |bytes| bytes.0),
                cpu: self.convert_cpu.map_or(limits.cpu, |time| time.0),
                wall: self.convert_time.map_or(limits.wall, |time| time.0),
                nice: self.convert_nice.map_or(limits.nice, |nice| nice.0),
                ..limits
            },
            converter: self.converter.unwrap_or(config.converter),
            debuginfod: DebuginfodServers {
                urls: self.debuginfod_urls.map_or(config.debuginfod.urls, |urls| urls.into_iter().filter_map(|url| url.0).collect()),
                ca: self.debuginfod_ca.or(config.debuginfod.ca),
                ahead: self.debuginfod_ahead.unwrap_or(config.debuginfod.ahead),
            },
        }
    }
}

impl fmt::Display for SymbolsConfig {
    /// As TOML, complete.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChildLimits { memory_bytes, cpu, wall, nice, .. } = self.limits;
        writeln!(f, "[symbols]\nmax_bytes = \"{}\"", ByteSize(self.max_bytes))?;
        writeln!(f, "convert_memory = \"{}\"\nconvert_cpu = \"{}\"", ByteSize(memory_bytes), Span(cpu))?;
        writeln!(f, "convert_time = \"{}\"\nconvert_nice = {nice}", Span(wall))?;
        writeln!(f, "converter = {:?}", self.converter.display().to_string())?;
        let DebuginfodServers { urls, ca, ahead } = &self.debuginfod;
        writeln!(f, "debuginfod_urls = {urls:?}\ndebuginfod_ahead = {ahead}")?;
        ca.iter().try_for_each(|ca| writeln!(f, "debuginfod_ca = {:?}", ca.display().to_string()))
    }
}
