//! Windows before and after a deploy that can be compared.

use flamekeeper_profile::{Timestamp, Window};

use super::Sighting;

const MINUTE: u64 = 60 * Timestamp::SECOND;
const DAY: u64 = 24 * 60 * MINUTE;
/// What a program does first (compile, fill caches) is not what it does then.
const WARM_UP: u64 = 2 * MINUTE;
/// A window longer than this says little more.
const LONGEST: u64 = 60 * MINUTE;
/// A window shorter than this is not chosen by the day before: the hour right before tells more.
const SHORTEST: u64 = MINUTE;

/// Two windows of one length, and why these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// When the old version ran.
    pub a: Window,
    /// When the new version ran.
    pub b: Window,
    /// How they were chosen, in words.
    pub why: Vec<String>,
}

/// Chooses windows for two versions of a service from where they were seen. None where one of them was not.
#[must_use]
pub fn choose(sightings: &[Sighting], from_version: &str, to_version: &str) -> Option<Choice> {
    let of = |version: &str| -> Vec<&Sighting> { sightings.iter().filter(|sighting| sighting.version == version).collect() };
    let new = latest_run(&of(to_version))?;
    let old = of(from_version);
    let (rolled_out, new_last) = (new.iter().map(|s| s.first).max()?, new.iter().map(|s| s.last).max()?);
    let new_first = new.iter().map(|s| s.first).min()?;
    let mut why = Vec::new();
    let ready = rolled_out.max(new_first.saturating_add(WARM_UP));
    let start = if ready < new_last {
        let hosts = new.iter().map(|s| s.host.as_str()).collect::<std::collections::BTreeSet<_>>().len();
        why.push(match rolled_out > new_first.saturating_add(WARM_UP) {
            true => format!("B begins when {to_version} was on all of its {hosts} hosts"),
            false => format!("B begins 2 minutes after {to_version} was first seen, to leave out its warm-up"),
        });
        ready
    } else {
        why.push(format!("{to_version} has run for less than its warm-up, so B begins with it"));
        new_first
    };
    // Before the rollout where the old version ran then, else whenever it ran last.
    let old_first = old.iter().map(|s| s.first).min()?;
    let old_end = old.iter().map(|s| s.last).max()?;
    let before = old_end.min(new_first);
    let (old_from, old_to) = if before > old_first { (old_first, before) } else { (old_first, old_end) };
    let length = LONGEST.min(new_last.0.saturating_sub(start.0)).min(old_to.0.saturating_sub(old_from.0));
    let b = Window::new(start, start.saturating_add(length));
    let a = a_day_before(&old, b, (old_from, old_to), &mut why).unwrap_or_else(|| {
        why.push(format!("A is the last of {from_version} before {to_version} came"));
        Window::new(old_to.saturating_sub(length), old_to)
    });
    why.push(format!("both are {} long", words(length)));
    (length > 0).then_some(Choice { a, b, why })
}

/// The newest sightings of a version that belong together: those that end with the newest one.
fn latest_run<'a>(seen: &[&'a Sighting]) -> Option<Vec<&'a Sighting>> {
    let mut ordered = seen.to_vec();
    ordered.sort_by_key(|sighting| std::cmp::Reverse(sighting.first));
    let mut first = ordered.first()?.first;
    let mut run = Vec::new();
    for sighting in ordered {
        if !run.is_empty() && sighting.last < first {
            continue;
        }
        first = first.min(sighting.first);
        run.push(sighting);
    }
    Some(run)
}

/// The same time of day, on the nearest day on which the old version ran all that time, up to a week back.
fn a_day_before(old: &[&Sighting], b: Window, (from, to): (Timestamp, Timestamp), why: &mut Vec<String>) -> Option<Window> {
    if b.duration() < SHORTEST {
        return None;
    }
    (1..=7).find_map(|days: u64| {
        let back = |at: Timestamp| at.saturating_sub(days * DAY);
        let a = Window::new(back(b.from), back(b.to));
        // Before 1970 there is nothing.
        let whole = a.duration() == b.duration() && from <= a.from && a.to <= to && old.iter().any(|s| s.first <= a.from && a.to <= s.last);
        whole.then(|| {
            why.push(match days {
                1 => "A is the same time of day the day before".to_owned(),
                _ => format!("A is the same time of day {days} days before"),
            });
            a
        })
    })
}

fn words(length: u64) -> String {
    match length / Timestamp::SECOND {
        seconds if seconds >= 120 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(version: &str, host: &str, first: u64, last: u64) -> Sighting {
        let at = |minute: u64| Timestamp(minute * MINUTE);
        Sighting { service: "api".into(), version: version.into(), host: host.into(), first: at(first), last: at(last) }
    }

    fn minutes(window: Window) -> (u64, u64) {
        (window.from.0 / MINUTE, window.to.0 / MINUTE)
    }

    /// After the rollout's end, the same length before it.
    #[test]
    fn around_a_rollout() {
        let sightings = [seen("1", "a", 0, 100), seen("1", "b", 0, 110), seen("2", "a", 100, 140), seen("2", "b", 110, 140)];
        let choice = choose(&sightings, "1", "2").unwrap();
        assert_eq!((minutes(choice.a), minutes(choice.b)), ((70, 100), (110, 140)));
        assert!(choice.why[0].contains("all of its 2 hosts"), "{choice:?}");
        assert_eq!(choose(&sightings, "1", "3"), None);
    }

    /// The warm-up is left out, and with history the same time of the day before is taken.
    #[test]
    fn the_day_before() {
        let day = 24 * 60;
        let sightings = [seen("1", "a", 0, 2 * day), seen("2", "a", 2 * day, 2 * day + 300)];
        let choice = choose(&sightings, "1", "2").unwrap();
        assert_eq!((minutes(choice.a), minutes(choice.b)), ((day + 2, day + 62), (2 * day + 2, 2 * day + 62)));
        assert!(choice.why.iter().any(|why| why.contains("day before")), "{choice:?}");
    }
}
