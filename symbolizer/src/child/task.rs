//! What the child is told: `key=number` arguments.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ChildLimits;
use crate::convert::Converter;

/// A conversion to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) converter: Converter,
    pub(super) limits: ChildLimits,
    /// Process id of who started the child.
    pub(super) parent: u32,
}

impl Task {
    /// As arguments.
    pub(super) fn arguments(&self) -> [String; 8] {
        let ChildLimits { memory_bytes, cpu, wall, output_bytes, nice } = self.limits;
        [
            format!("object={}", self.converter.object_bytes),
            format!("section={}", self.converter.section_bytes),
            format!("memory={memory_bytes}"),
            format!("cpu={}", cpu.as_secs().max(1)),
            format!("wall={}", wall.as_secs()),
            format!("output={output_bytes}"),
            format!("nice={nice}"),
            format!("parent={}", self.parent),
        ]
    }

    /// Reads arguments.
    ///
    /// # Errors
    /// The key that is missing or wrong.
    pub(super) fn read(arguments: &[String]) -> Result<Self, &'static str> {
        let given: BTreeMap<&str, u64> = arguments
            .iter()
            .filter_map(|argument| argument.split_once('='))
            .filter_map(|(key, value)| Some((key, value.parse().ok()?)))
            .collect();
        let number = |key: &'static str| given.get(key).copied().ok_or(key);
        Ok(Self {
            converter: Converter { object_bytes: number("object")?, section_bytes: number("section")? },
            limits: ChildLimits {
                memory_bytes: number("memory")?,
                cpu: Duration::from_secs(number("cpu")?),
                wall: Duration::from_secs(number("wall")?),
                output_bytes: number("output")?,
                nice: u8::try_from(number("nice")?).map_err(|_| "nice")?,
            },
            parent: u32::try_from(number("parent")?).map_err(|_| "parent")?,
        })
    }
}
