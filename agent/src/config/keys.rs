//! The keys of the configuration file, what each expects, and the nearest one to a misspelt one.

use super::budget::{CpuCeiling, Horizon, MemoryCeiling};
use super::scrape::{ScrapeInterval, ScrapeUrl};
use super::value::{ByteSize, CollectorAddress, Event, FaultPeriod, Frequency, Label, RingBytes, StackBytes, WindowLength};

/// A key: its table (empty for the top), its name, and what it expects.
pub(super) struct Key {
    pub(super) table: &'static str,
    pub(super) name: &'static str,
    pub(super) expected: &'static str,
}

const fn key(table: &'static str, name: &'static str, expected: &'static str) -> Key {
    Key { table, name, expected }
}

const PATH: &str = "a path in quotes";
const USERS: &str = "a list of users in quotes, by name or number, such as [\"alice\", \"1001\"]";
const PATTERNS: &str = "a list of names in quotes, such as [\"backup\", \"test-*\"]";

/// All keys. A test holds them equal to the fields of [`super::RawConfig`].
pub(super) const KEYS: &[Key] = &[
    key("", "collector", CollectorAddress::EXPECTED),
    key("", "token_file", PATH),
    key("", "ca", PATH),
    key("", "client_cert", PATH),
    key("", "client_key", PATH),
    key("", "host_name", "a name in quotes"),
    key("", "state_dir", PATH),
    key("", "frequency_hz", Frequency::EXPECTED),
    key("", "window", WindowLength::EXPECTED),
    key("", "event", Event::EXPECTED),
    key("", "stack_bytes", StackBytes::EXPECTED),
    key("", "ring_bytes", RingBytes::EXPECTED),
    key("", "spool", "a table [spool]"),
    key("spool", "dir", PATH),
    key("spool", "max_bytes", ByteSize::EXPECTED),
    key("", "symbols", "a table [symbols]"),
    key("symbols", "upload", "true or false"),
    key("symbols", "max_object_bytes", ByteSize::EXPECTED),
    key("symbols", "max_bytes_per_second", ByteSize::EXPECTED),
    key("", "java", "a table [java]"),
    key("java", "perf_map", "true or false"),
    key("", "memory", "a table [memory]"),
    key("memory", "levels", "true or false"),
    key("memory", "page_faults", FaultPeriod::EXPECTED),
    key("", "budget", "a table [budget]"),
    key("budget", "cpu_percent", CpuCeiling::EXPECTED),
    key("budget", "horizon", Horizon::EXPECTED),
    key("budget", "memory", MemoryCeiling::EXPECTED),
    key("", "metrics", "a table [metrics]"),
    key("metrics", "listen", "an address and port in quotes, such as \"127.0.0.1:4041\""),
    key("", "exclude", "a table [exclude]"),
    key("exclude", "processes", PATTERNS),
    key("exclude", "units", PATTERNS),
    key("exclude", "slices", PATTERNS),
    key("exclude", "users", USERS),
    key("exclude", "environment", "true or false"),
    key("", "process_labels", "a list of labels in quotes, such as [\"pid\", \"exe\", \"env.TEAM\", \"k8s.*\"]"),
    key("", "labels", "a table [labels] of names and texts"),
    key("", "scrape", "tables [[scrape]]"),
    key("scrape", "url", ScrapeUrl::EXPECTED),
    key("scrape", "service", "the name of the service in quotes"),
    key("scrape", "version", "its version in quotes"),
    key("scrape", "interval", ScrapeInterval::EXPECTED),
    key("scrape", "token_file", PATH),
    key("scrape", "basic_auth_file", PATH),
    key("scrape", "ca", PATH),
    key("scrape", "client_cert", PATH),
    key("scrape", "client_key", PATH),
    key("scrape", "max_bytes", ByteSize::EXPECTED),
    key("scrape", "labels", "a table of names and texts, such as { team = \"pay\" }"),
];

/// The table whose keys are chosen by the user.
pub(super) const FREE_TABLE: &str = "labels";

/// What a key expects.
pub(super) fn expected(table: &str, name: &str) -> Option<&'static str> {
    if table == FREE_TABLE {
        return Some(Label::EXPECTED);
    }
    KEYS.iter().find(|key| key.table == table && key.name == name).map(|key| key.expected)
}

/// A key with its table, as it is written in messages: `spool.max_bytes`.
pub(super) fn dotted(table: &str, name: &str) -> String {
    if table.is_empty() { name.into() } else { format!("{table}.{name}") }
}

/// The key nearest to a misspelt one, of any table: at most a third of its letters away, or in another table.
pub(super) fn nearest(table: &str, name: &str) -> Option<String> {
    let name: String = name.chars().take(64).collect::<String>().to_lowercase().replace('-', "_");
    let distance = |key: &&Key| {
        let plain = edit_distance(&name, key.name);
        // The same name in another table is a near miss too, but one letter further than in the same table.
        plain.min(edit_distance(&name, &format!("{}_{}", key.table, key.name)) + 1) * 2 + usize::from(key.table != table)
    };
    let best = KEYS.iter().min_by_key(distance)?;
    let limit = (name.chars().count().max(3) / 3) * 2 + 1;
    (distance(&best) <= limit).then(|| dotted(best.table, best.name))
}

/// Levenshtein's distance, in letters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slips of the finger find their key; a word of another world finds none.
    #[test]
    fn suggests_the_nearest() {
        let cases = [
            ("", "frequency", Some("frequency_hz")),
            ("", "colector", Some("collector")),
            ("", "stack-bytes", Some("stack_bytes")),
            ("", "max_bytes", Some("spool.max_bytes")),
            ("", "spool_dir", Some("spool.dir")),
            ("spool", "max_byte", Some("spool.max_bytes")),
            ("symbols", "uplaod", Some("symbols.upload")),
            ("", "kubernetes", None),
        ];
        for (table, name, want) in cases {
            assert_eq!(nearest(table, name).as_deref(), want, "{table} {name}");
        }
    }
}
