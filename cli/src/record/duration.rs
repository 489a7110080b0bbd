//! Durations on the command line.

use std::time::Duration;

/// Reads `500ms`, `10s`, `2m` or `1h`; a number alone is seconds.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a time such as 10s, 500ms or 2m, not {text:?}");
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let number: f64 = text[..digits].parse().map_err(|_| wrong())?;
    let factor = match &text[digits..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let duration = Duration::try_from_secs_f64(number * factor).map_err(|_| wrong())?;
    if duration.is_zero() { Err(wrong()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units are understood, and what is no time is refused with an example.
    #[test]
    fn times() {
        assert_eq!(parse("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "s", "10 parsecs", "-1s", "0s", "1e400s", "99999999999999999999h"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
