//! Numbers for people.

/// Bytes in the unit that gives them one to four digits.
#[allow(clippy::cast_precision_loss)] // For display: three digits.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bytes as f64 / size as f64),
        None => format!("{bytes} B"),
    }
}

/// Seconds in the unit that gives them one to three digits.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Saturates; an age is no more exact than this.
pub(super) fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min", seconds / 60),
        3600..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each number has its unit.
    #[test]
    fn units() {
        assert_eq!((bytes(0), bytes(1536), bytes(20_000_000_000)), ("0 B".into(), "1.5 KiB".into(), "18.6 GiB".into()));
        assert_eq!((age(-1.0), age(59.9), age(7200.0), age(864_000.0)), ("0 s".into(), "59 s".into(), "2 h".into(), "10 d".into()));
    }
}
