//! Numbers, times and sides as people read them.

use super::{Report, ReportFunction, ReportSide};

/// Three digits that say something, as far as a thousandth of a thousandth.
pub(super) fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.1 => format!("{value:.3}"),
        size if size >= 0.01 => format!("{value:.4}"),
        size if size >= 0.001 || size <= 0.0 => format!("{value:.5}"),
        _ => format!("{value:.6}"),
    }
}

/// A part as a percentage, with its sign: `+4.2 %`.
pub(super) fn percent(part: f64) -> String {
    let value = part * 100.0;
    match value.abs() {
        size if size >= 100.0 => format!("{value:+.0} %"),
        size if size >= 10.0 => format!("{value:+.1} %"),
        _ => format!("{value:+.2} %"),
    }
}

/// Seconds since 1970 as a time that the API reads back: `2025-11-24 16:16:40Z`. Whole seconds; the year 9999 at most.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Within what the clamp leaves.
pub fn utc(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 253_402_300_799.0).floor() as u64;
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, in eras of 400 years (Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * day_of_year + 2) / 153;
    let (date, month) = (day_of_year - (153 * march + 2) / 5 + 1, if march < 10 { march + 3 } else { march - 9 });
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02} {:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

impl Report {
    /// The unit of its values as they are written, in words.
    #[must_use]
    pub fn unit_text(&self) -> String {
        match (self.unit.as_str(), self.weight_unit.as_str()) {
            ("cores", "nanoseconds" | "") => "cores".to_owned(),
            ("cores", other) => format!("{other}/s"),
            ("share", _) => "% of all".to_owned(),
            ("request", "nanoseconds") => "ms of CPU a request".to_owned(),
            ("request", other) => format!("{other} a request"),
            (other, _) => other.to_owned(),
        }
    }

    pub(super) fn value(&self, value: f64) -> String {
        digits(match (self.unit.as_str(), self.weight_unit.as_str()) {
            ("share", _) => value * 100.0,
            ("request", "nanoseconds") => value / 1e6,
            _ => value,
        })
    }

    pub(super) fn signed(&self, value: f64) -> String {
        let text = self.value(value);
        if value >= 0.0 { format!("+{text}") } else { text }
    }

    /// `+0.0140 to +0.0220`; a dash where there is none.
    pub(super) fn interval(&self, function: &ReportFunction) -> String {
        match (function.low, function.high) {
            (Some(low), Some(high)) => format!("{} to {}", self.signed(low), self.signed(high)),
            _ => "-".to_owned(),
        }
    }

    /// What a side holds, in one line.
    pub(super) fn side_text(&self, side: &ReportSide) -> String {
        let mut parts = vec![side.query.clone()];
        if let (Some(from), Some(to)) = (side.from, side.to) {
            parts.push(format!("{} to {}", utc(from), utc(to)));
            parts.push(counted(side.hosts, "host"));
        }
        if side.from.is_some() || (side.host_seconds > 0.0 && self.unit == "cores") {
            parts.push(format!("{} s", digits(side.host_seconds)));
        }
        parts.push(format!("{} samples", side.samples));
        if self.unit != "share" {
            parts.push(format!("{} {}", self.value(side.total), self.unit_text()));
        }
        if side.lost > 0 {
            parts.push(format!("{} lost", side.lost));
        }
        parts.join(", ")
    }

    /// What the intervals rest on, and what would have been seen.
    pub(super) fn statement(&self) -> Vec<String> {
        let spread = match self.a.windows + self.b.windows {
            0 => String::new(),
            _ => format!("; counts spread {} times as much as samples alone would", digits(self.dispersion)),
        };
        let mut lines = vec![format!(
            "{} looked at, {} beyond chance (false discovery rate {:.0} %){spread}.",
            counted(self.tested, "function"),
            self.flagged,
            self.fdr * 100.0,
        )];
        let mut seen = self.smallest_change_seen.clone();
        if let Some(first) = seen.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        lines.push(format!("{seen}."));
        let unnamed = self.a.unnamed_frames.max(self.b.unnamed_frames);
        if unnamed > 0.1 {
            lines.push(format!(
                "{:.0} % of the distinct frames of a side have no name: their changes are told by address.",
                unnamed * 100.0
            ));
        }
        lines.extend(self.notes.iter().cloned());
        lines
    }
}

impl ReportFunction {
    /// `+215 %`; the word where there is no A.
    pub(super) fn relative_text(&self) -> String {
        self.relative.map_or_else(|| "new".to_owned(), percent)
    }

    /// `+170 % to +260 %`.
    pub(super) fn relative_interval(&self) -> String {
        match (self.relative_low, self.relative_high) {
            (Some(low), Some(high)) => format!("{} to {}", percent(low), percent(high)),
            (Some(low), None) => format!("{} or more", percent(low)),
            _ => "-".to_owned(),
        }
    }

    /// Its name, module, and what it was called.
    pub(super) fn title(&self) -> String {
        let module = self.module.rsplit('/').next().unwrap_or_default();
        let module = if module.is_empty() { String::new() } else { format!(" ({module})") };
        let old = match &self.moved_from {
            Some(old) if *old != self.name => format!(", {old} before"),
            _ => String::new(),
        };
        // A name may hold anything: it stays on its line.
        format!("{}{module}{old}", self.name).replace(char::is_control, " ")
    }
}

pub(super) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::time::time;
    use flamekeeper_profile::Timestamp;

    /// Times read back as what they were, over leap years and the ends of months.
    #[test]
    fn times_read_back() {
        for seconds in (0..4_000_000_000_u64).step_by(86_399 * 7).chain([951_782_399, 951_868_800, 4_102_444_800]) {
            let at = time(&utc(Timestamp(seconds * Timestamp::SECOND).as_seconds()), Timestamp(0)).unwrap();
            assert_eq!(at.0 / Timestamp::SECOND, seconds);
        }
        assert_eq!(utc(1_764_001_000.9), "2025-11-24 16:16:40Z");
        assert_eq!((utc(-5.0), utc(f64::INFINITY)), ("1970-01-01 00:00:00Z".into(), "9999-12-31 23:59:59Z".into()));
    }

    /// Digits are few and enough.
    #[test]
    fn numbers() {
        let shown: Vec<String> = [0.0, 0.000_01, 0.004_56, 0.0456, 0.456, 4.56, 45.6, 456.7].into_iter().map(digits).collect();
        assert_eq!(shown, ["0.00000", "0.000010", "0.00456", "0.0456", "0.456", "4.56", "45.6", "457"]);
        assert_eq!([0.051_23, 2.15, -0.2].map(percent), ["+5.12 %", "+215 %", "-20.0 %"]);
    }
}
