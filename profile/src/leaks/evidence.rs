//! Verdicts in words.

use super::forecast::{FEWEST, Forecast, Verdict};

/// Why the forecast says what it says. `age` and `horizon` are in seconds.
pub(super) fn words(forecast: &Forecast, age: u64, horizon: f64, stalled: bool) -> String {
    let counts = &forecast.counts;
    let reached = format!("{:.0} sampled blocks reached the age of {}", counts.reached, duration(age as f64));
    let freed = match counts.freed {
        none if none < 0.5 => "none was freed after it".to_owned(),
        freed => format!("{freed:.0} were freed after it"),
    };
    let (low, high) = (bytes(forecast.low), bytes(forecast.high));
    match forecast.verdict {
        Verdict::Leaks => {
            format!("{reached}, {freed}: {} within {} (95 %: {low} to {high})", bytes(forecast.growth), duration(horizon))
        }
        Verdict::LevelsOff if stalled => {
            format!("{reached}, but few of late, and {freed}: growth has stopped near {}", plain(forecast.old))
        }
        Verdict::LevelsOff => format!("{reached}, {freed}: levels off near {}", plain(forecast.level)),
        Verdict::TooEarly if counts.reached < FEWEST => format!("{reached}; {FEWEST:.0} are needed for a forecast: too early to tell"),
        Verdict::TooEarly => {
            format!("{reached}, {freed}; within {} that means {low} to {high}: too early to tell", duration(horizon))
        }
    }
}

/// `+1.5 MiB`.
fn bytes(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "+" };
    format!("{sign}{}", plain(value.abs()))
}

fn plain(value: f64) -> String {
    for (power, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        let scale = f64::from(power).exp2();
        if value >= scale {
            let digits = if value >= 100.0 * scale { 0 } else { 1 };
            return format!("{:.digits$} {unit}", value / scale);
        }
    }
    format!("{value:.0} B")
}

/// `512 s`, `17 min`, `2.3 h`, `3 days`.
fn duration(seconds: f64) -> String {
    match seconds {
        short if short < 120.0 => format!("{short:.0} s"),
        minutes if minutes < 7200.0 => format!("{:.0} min", minutes / 60.0),
        hours if hours < 172_800.0 => format!("{:.1} h", hours / 3600.0),
        days => format!("{:.1} days", days / 86_400.0),
    }
}
