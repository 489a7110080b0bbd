//! What the values of a series mean.

/// The sample type: what one sample counts and what it is worth.
///
/// A CPU profile is `samples`/`count` with a period of so many nanoseconds of `cpu`: each sample stands for `period`
/// nanoseconds of CPU time. A type without a period (0) states its values directly in `unit`.
/// (The field's convention; see `profile.proto` of pprof: `sample_type`, `period_type`, `period`.)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleType {
    /// What is counted: `samples`, `alloc_space`, ...
    pub name: Box<str>,
    /// The unit of the values: `count`, `bytes`, ...
    pub unit: Box<str>,
    /// What a period measures: `cpu`; empty where there is no period.
    pub period_name: Box<str>,
    /// The unit of the period: `nanoseconds`; empty where there is no period.
    pub period_unit: Box<str>,
    /// What one sample is worth, in `period_unit`; 0 where there is no period.
    pub period: u64,
}

impl SampleType {
    /// CPU samples, each worth `period_ns` nanoseconds of CPU time.
    #[must_use]
    pub fn cpu(period_ns: u64) -> Self {
        Self {
            name: "samples".into(),
            unit: "count".into(),
            period_name: "cpu".into(),
            period_unit: "nanoseconds".into(),
            period: period_ns,
        }
    }

    /// Memory that was touched first, in bytes: what page faults brought in, by who made them. Not what is still held.
    #[must_use]
    pub fn touched() -> Self {
        Self::plain("touched_space", "bytes")
    }

    /// A type whose values are stated directly.
    #[must_use]
    pub fn plain(name: &str, unit: &str) -> Self {
        Self { name: name.into(), unit: unit.into(), period_name: "".into(), period_unit: "".into(), period: 0 }
    }

    /// Whether values are counts of samples that are each worth a period.
    #[must_use]
    pub fn is_periodic(&self) -> bool {
        self.period > 0 && &*self.unit == "count"
    }

    /// The name under which a query asks for it: `cpu`, `alloc_space`. Types that differ in their period only have the same.
    #[must_use]
    pub fn query_name(&self) -> &str {
        if self.is_periodic() && !self.period_name.is_empty() { &self.period_name } else { &self.name }
    }

    /// Whether values of the type of this name say what there was at the end of a window, and not what came in it: values of two
    /// windows are not to be added up. (`inuse_space`, `inuse_objects`.)
    #[must_use]
    pub fn is_level(query_name: &str) -> bool {
        query_name.starts_with("inuse_")
    }

    /// The type beside the one of this name that has the variance of its sums, where they are estimates from samples of known
    /// probabilities: in square kibibytes, or of counts. Variances of samples that are taken independently add up as the sums do.
    #[must_use]
    pub fn variance_of(query_name: &str) -> Option<&'static str> {
        match query_name {
            "alloc_space" => Some("alloc_space_variance"),
            "inuse_space" => Some("inuse_space_variance"),
            "alloc_objects" => Some("alloc_objects_variance"),
            "inuse_objects" => Some("inuse_objects_variance"),
            _ => None,
        }
    }

    /// Whether the type of this name is a variance, which is told with what it is of and not by itself.
    #[must_use]
    pub fn is_variance(query_name: &str) -> bool {
        query_name.ends_with("_variance")
    }

    /// The standard error that a variance means, in the unit of the type of this name that it is of.
    #[must_use]
    pub fn standard_error(query_name: &str, variance: u64) -> f64 {
        let unit = if query_name.ends_with("_space") { 1024.0 } else { 1.0 };
        (variance as f64).sqrt() * unit
    }

    /// The unit of the values that a query answers.
    #[must_use]
    pub fn query_unit(&self) -> &str {
        if self.is_periodic() && !self.period_unit.is_empty() { &self.period_unit } else { &self.unit }
    }

    /// A stored value in [`Self::query_unit`]: times the period, saturating.
    #[must_use]
    pub fn weigh(&self, value: u64) -> u64 {
        if self.is_periodic() { value.saturating_mul(self.period) } else { value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A CPU sample is worth its period; a plain value is worth itself.
    #[test]
    fn weighs_by_period() {
        let cpu = SampleType::cpu(50_000_000);
        assert_eq!((cpu.query_name(), cpu.query_unit(), cpu.weigh(3)), ("cpu", "nanoseconds", 150_000_000));
        let heap = SampleType::plain("inuse_space", "bytes");
        assert!(SampleType::is_level("inuse_space") && !SampleType::is_level("alloc_space") && !SampleType::is_level("cpu"));
        assert_eq!((heap.query_name(), heap.query_unit(), heap.weigh(3)), ("inuse_space", "bytes", 3));
        // The variance of a level is one too.
        let variance = SampleType::variance_of("inuse_space").unwrap();
        assert!(SampleType::is_level(variance) && SampleType::is_variance(variance) && !SampleType::is_variance("inuse_space"));
        assert_eq!(SampleType::standard_error("inuse_space", 16), 4096.0);
        assert_eq!(SampleType::standard_error("alloc_objects", 16), 4.0);
    }
}
