//! The messages of pprof's `profile.proto`, as far as they are written and read here.
//!
//! Source: <https://github.com/google/pprof/blob/main/proto/profile.proto>. They are our own because the crate `pprof`
//! would bring a second `prost` (0.12) with its code generator into every build, for eight message types; in tests its
//! decoder is the judge of what these write.

use prost::Message as _;

/// Why bytes are no pprof that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PprofError {
    /// They are another format, or damaged.
    #[error("it is no pprof (profile.proto)")]
    Foreign,
    /// A table has too many entries.
    #[error("it has more than {0} entries in a table; the limit protects this program")]
    TooLarge(usize),
}

/// Reads a profile that is not compressed, of at most so many entries in each table.
///
/// # Errors
/// [`PprofError`]. No memory is taken before the entries are counted.
pub fn decode(bytes: &[u8], limit: usize) -> Result<Profile, PprofError> {
    check_entries(bytes, limit)?;
    Profile::decode(bytes).map_err(|_| PprofError::Foreign)
}

impl Profile {
    /// The text at a place of the string table; empty where there is none.
    #[must_use]
    pub fn text(&self, place: i64) -> &str {
        usize::try_from(place).ok().and_then(|place| self.string_table.get(place)).map_or("", String::as_str)
    }
}

/// `perftools.profiles.Profile`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Profile {
    /// What each value of a sample means.
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    /// The stacks.
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    /// The objects.
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<Mapping>,
    /// The addresses.
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    /// The functions.
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    /// All texts; the first is empty.
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    /// Start of the window, nanoseconds since 1970 UTC.
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    /// Length of the window in nanoseconds.
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    /// What a period measures.
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    /// Nanoseconds (or what `period_type` says) between samples.
    #[prost(int64, tag = "12")]
    pub period: i64,
    /// Free text, places in `string_table`.
    #[prost(int64, repeated, tag = "13")]
    pub comment: Vec<i64>,
    /// The sample type that a viewer shows first, a place in `string_table`.
    #[prost(int64, tag = "14")]
    pub default_sample_type: i64,
}

/// `perftools.profiles.ValueType`: places in the string table.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ValueType {
    /// `cpu`, `samples`.
    #[prost(int64, tag = "1")]
    pub r#type: i64,
    /// `nanoseconds`, `count`.
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

/// `perftools.profiles.Sample`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Sample {
    /// Ids of locations, leaf first.
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    /// One for each sample type.
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    /// What else is known of it.
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<Label>,
}

/// `perftools.profiles.Label`: places in the string table.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Label {
    /// The label's name.
    #[prost(int64, tag = "1")]
    pub key: i64,
    /// Its value.
    #[prost(int64, tag = "2")]
    pub str: i64,
}

/// `perftools.profiles.Mapping`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Mapping {
    /// From 1.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// First address.
    #[prost(uint64, tag = "2")]
    pub memory_start: u64,
    /// The address after the last.
    #[prost(uint64, tag = "3")]
    pub memory_limit: u64,
    /// Offset in the object of the first address.
    #[prost(uint64, tag = "4")]
    pub file_offset: u64,
    /// Path, a place in the string table.
    #[prost(int64, tag = "5")]
    pub filename: i64,
    /// Build id as hexadecimal digits (Go's as its text), a place in the string table.
    #[prost(int64, tag = "6")]
    pub build_id: i64,
    /// Whether its functions are named.
    #[prost(bool, tag = "7")]
    pub has_functions: bool,
    /// Whether its files are.
    #[prost(bool, tag = "8")]
    pub has_filenames: bool,
    /// Whether its lines are.
    #[prost(bool, tag = "9")]
    pub has_line_numbers: bool,
    /// Whether inlined functions are.
    #[prost(bool, tag = "10")]
    pub has_inline_frames: bool,
}

/// `perftools.profiles.Location`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Location {
    /// From 1.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its mapping; 0 for none.
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    /// Address.
    #[prost(uint64, tag = "3")]
    pub address: u64,
    /// Functions, innermost first.
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

/// `perftools.profiles.Line`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Line {
    /// Id of a function.
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    /// Line, from 1; 0 where unknown.
    #[prost(int64, tag = "2")]
    pub line: i64,
}

/// `perftools.profiles.Function`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Function {
    /// From 1.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Demangled name, a place in the string table.
    #[prost(int64, tag = "2")]
    pub name: i64,
    /// Name as the system has it.
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    /// Source file.
    #[prost(int64, tag = "4")]
    pub filename: i64,
    /// The line that it begins at; 0 where unknown.
    #[prost(int64, tag = "5")]
    pub start_line: i64,
}

/// Counts the entries of each table before any memory is taken for them: two bytes of a message can become a hundred in memory.
/// (Encoding: <https://protobuf.dev/programming-guides/encoding/>.)
fn check_entries(bytes: &[u8], limit: usize) -> Result<(), PprofError> {
    let mut counts = [0_usize; 16];
    let mut rest = bytes;
    while !rest.is_empty() {
        let key = varint(&mut rest).ok_or(PprofError::Foreign)?;
        let field = usize::try_from(key >> 3).unwrap_or(usize::MAX);
        let length = match key & 7 {
            0 => varint(&mut rest).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut rest).and_then(|length| usize::try_from(length).ok()),
            5 => Some(4),
            _ => None,
        };
        rest = length.and_then(|length| rest.get(length..)).ok_or(PprofError::Foreign)?;
        if let Some(count) = counts.get_mut(field) {
            *count += 1;
            if *count > limit {
                return Err(PprofError::TooLarge(limit));
            }
        }
    }
    Ok(())
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
