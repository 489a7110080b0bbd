//! Times as a person or a page writes them: RFC 3339, unix seconds, or relative to now.

use flamekeeper_profile::{Timestamp, Window};

/// A text that is not a time, or two that are not a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// None of the three forms.
    #[error(
        "{text:?} is not a time; write 2026-11-24T14:00:00Z, seconds since 1970, now, or a time before now such as -15m (s, m, h, d, w)"
    )]
    Form {
        /// What was written, cut to a bearable length.
        text: String,
    },
    /// A date or time of day that does not exist, or one that lies outside of 1970 to 2554.
    #[error("{text:?} is a time that does not exist or cannot be held; times from 1970 to 2554 can")]
    Range {
        /// What was written.
        text: String,
    },
    /// A window without an inside.
    #[error("the window ends ({to}) before it starts ({from}); from must be earlier than to")]
    Empty {
        /// What was written for the start.
        from: String,
        /// What was written for the end.
        to: String,
    },
}

/// Reads the half-open window `[from, to)`.
///
/// # Errors
/// [`TimeError`], for either end or where the end is not after the start.
pub fn window(from: &str, to: &str, now: Timestamp) -> Result<Window, TimeError> {
    let window = Window::new(time(from, now)?, time(to, now)?);
    if window.duration() == 0 { Err(TimeError::Empty { from: from.into(), to: to.into() }) } else { Ok(window) }
}

/// Reads a time as JSON states it: a text as in questions, or a number of seconds since 1970.
///
/// # Errors
/// As [`time`].
pub fn stated(value: &serde_json::Value, now: Timestamp) -> Result<Timestamp, TimeError> {
    match value {
        serde_json::Value::String(text) => time(text, now),
        other => time(&other.to_string(), now),
    }
}

/// Reads one time. Fractions of a second are exact to the nanosecond; further digits are passed over.
///
/// # Errors
/// [`TimeError::Form`] or [`TimeError::Range`].
pub fn time(text: &str, now: Timestamp) -> Result<Timestamp, TimeError> {
    let form = || TimeError::Form { text: text.chars().take(64).collect() };
    let range = || TimeError::Range { text: text.chars().take(64).collect() };
    if text == "now" {
        return Ok(now);
    }
    if let Some(span) = text.strip_prefix('-') {
        return Ok(now.saturating_sub(span_nanoseconds(span).ok_or_else(form)?));
    }
    if text.as_bytes().get(4) == Some(&b'-') {
        return rfc3339(text).ok_or_else(form)?.nanoseconds().map(Timestamp).ok_or_else(range);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds = digits(seconds).ok_or_else(form)?;
    let fraction = fraction_nanoseconds(fraction).ok_or_else(form)?;
    let nanoseconds = seconds.checked_mul(Timestamp::SECOND).and_then(|whole| whole.checked_add(fraction));
    nanoseconds.map(Timestamp).ok_or_else(range)
}

/// Whether a text states a time that stays where it is when asked again later.
#[must_use]
pub fn is_absolute(text: &str) -> bool {
    text != "now" && !text.starts_with('-')
}

/// A number of digits only: no sign, no space. At most 19 of them, which cannot overflow.
fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn fraction_nanoseconds(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits(&format!("{:0<9}", text.get(..9).unwrap_or(text)))
}

/// `15m`, `1.5h`: nanoseconds; saturating, since further back than 1970 there is nothing.
fn span_nanoseconds(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let number = text.strip_suffix(unit)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = digits(whole)?.saturating_mul(Timestamp::SECOND);
    Some(whole.saturating_add(fraction_nanoseconds(fraction)?).saturating_mul(seconds))
}

/// A date and time of day with the offset that it was written in.
struct DateTime {
    year: u64,
    month: u64,
    day: u64,
    seconds_of_day: u64,
    nanoseconds: u64,
    /// East of Greenwich.
    offset_seconds: i64,
    valid: bool,
}

/// RFC 3339, section 5.6: `date-time`. `T`, `t` or a space between date and time; the offset is required.
fn rfc3339(text: &str) -> Option<DateTime> {
    let number = |from: usize, to: usize| text.get(from..to).and_then(digits);
    let mark = |at: usize, marks: &[u8]| text.as_bytes().get(at).is_some_and(|byte| marks.contains(byte));
    if !(mark(4, b"-") && mark(7, b"-") && mark(10, b"Tt ") && mark(13, b":") && mark(16, b":")) {
        return None;
    }
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let rest = text.get(19..)?;
    let (nanoseconds, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let end = rest.find(|character: char| !character.is_ascii_digit())?;
            (fraction_nanoseconds(&rest[..end])?, &rest[end..])
        }
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // A leap second (60) counts as the first second of the next minute, as POSIX time does.
    let valid = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let (offset_seconds, offset_valid) = offset(zone)?;
    let seconds_of_day = hour * 3600 + minute * 60 + second;
    Some(DateTime { year, month, day, seconds_of_day, nanoseconds, offset_seconds, valid: valid && offset_valid })
}

/// `Z`, `+02:00`, `-05:30`, as seconds east, and whether such an offset can be.
fn offset(zone: &str) -> Option<(i64, bool)> {
    if zone.eq_ignore_ascii_case("z") {
        return Some((0, true));
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let seconds = i64::try_from(hours * 3600 + minutes * 60).ok()?;
    Some((sign * seconds, hours < 24 && minutes < 60))
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl DateTime {
    /// Nanoseconds since 1970 UTC; none for what does not exist, is earlier, or later than 64 bits hold.
    fn nanoseconds(&self) -> Option<u64> {
        if !self.valid || self.year < 1969 {
            return None;
        }
        // Counted from 1969, since an offset can bring the last day of that year into 1970.
        let years: u64 = (1969..self.year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
        let months: u64 = (1..self.month).map(|month| days_in(self.year, month)).sum();
        let local = (years + months + self.day - 1) * 86_400 + self.seconds_of_day;
        let utc = i64::try_from(local).ok()? - self.offset_seconds - 365 * 86_400;
        u64::try_from(utc).ok()?.checked_mul(Timestamp::SECOND)?.checked_add(self.nanoseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_764_000_000 * Timestamp::SECOND);

    fn at(text: &str) -> Result<Timestamp, TimeError> {
        time(text, NOW)
    }

    /// Dates equal what `date -u -d ... +%s.%N` says of them.
    #[test]
    fn dates() {
        for (text, nanoseconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000000001Z", 1),
            ("2026-11-24T14:00:00Z", 1_795_528_800_000_000_000),
            ("2026-11-24t14:00:00z", 1_795_528_800_000_000_000),
            ("2026-11-24 14:00:00+00:00", 1_795_528_800_000_000_000),
            ("2026-11-24T16:30:00+02:30", 1_795_528_800_000_000_000),
            ("2026-11-24T06:00:00-08:00", 1_795_528_800_000_000_000),
            ("2000-02-29T12:34:56.789Z", 951_827_696_789_000_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000_000_000),
            ("1969-12-31T23:30:00-01:00", 1_800_000_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000_000),
            ("2026-11-24T14:00:00.1234567899Z", 1_795_528_800_123_456_789),
        ] {
            assert_eq!(at(text), Ok(Timestamp(nanoseconds)), "{text}");
        }
    }

    /// Unix seconds keep every digit, and relative times count back from now.
    #[test]
    fn seconds_and_spans() {
        assert_eq!(at("1764000000"), Ok(NOW));
        assert_eq!(at("1764000000.000000001"), Ok(Timestamp(NOW.0 + 1)));
        assert_eq!(at("0.5"), Ok(Timestamp(500_000_000)));
        assert_eq!(at("now"), Ok(NOW));
        for (text, seconds) in [("-30s", 30), ("-15m", 900), ("-1h", 3600), ("-7d", 604_800), ("-1w", 604_800), ("-1.5h", 5400), ("-0s", 0)]
        {
            assert_eq!(at(text), Ok(NOW.saturating_sub(seconds * Timestamp::SECOND)), "{text}");
        }
        assert_eq!(at("-9999999999999999999w"), Ok(Timestamp(0)));
    }

    /// What is no time says what one looks like; what cannot be says so.
    #[test]
    fn errors() {
        for text in [
            "",
            "-",
            "-m",
            "-15",
            "-15x",
            "15m",
            "+5",
            "1e9",
            "1.",
            ".5",
            "1 ",
            "yesterday",
            "2026-11-24",
            "2026-11-24T14:00:00",
            "2026-11-24T14:00Z",
            "2026-11-24T14:00:00.Z",
            "2026-11-24T14:00:00.5",
            "2026-11-24T14:00:00+2:00",
            "2026-11-24T14:00:00+0200",
            "2026-1-24T14:00:00Z",
            "2026-11-24T14:00:00é",
            "-é",
            "é",
            "2026-é",
            "2026-11-2éT14:00:00Z",
            "99999999999999999999",
        ] {
            assert!(matches!(at(text), Err(TimeError::Form { .. })), "{text}: {:?}", at(text));
        }
        for text in [
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "1960-01-01T00:00:00Z",
            "1970-01-01T00:00:00+01:00",
            "9999-01-01T00:00:00Z",
            "18446744074",
            "2026-01-01T00:00:00+24:00",
        ] {
            assert!(matches!(at(text), Err(TimeError::Range { .. })), "{text}: {:?}", at(text));
        }
    }

    /// A window must have an inside.
    #[test]
    fn windows() {
        assert_eq!(window("-15m", "now", NOW).unwrap().duration(), 900 * Timestamp::SECOND);
        assert!(matches!(window("now", "-1m", NOW), Err(TimeError::Empty { .. })));
        assert!(matches!(window("now", "now", NOW), Err(TimeError::Empty { .. })));
        assert!(is_absolute("1764000000") && is_absolute("2026-11-24T14:00:00Z") && !is_absolute("now") && !is_absolute("-1h"));
    }
}
