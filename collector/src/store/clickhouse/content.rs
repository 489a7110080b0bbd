//! What rows refer to: stacks, by the hash of their content.
//!
//! Many collectors write at once and share no counter, so a number per stack cannot be given. Its identity is the first 128 bits of the
//! SHA-256 of its content, whose form is the same wherever it is made. Nobody finds two contents of one such hash, also not on
//! purpose, so none are summed that differ.
//!
//! ```text
//! content  how the stack ends, text | count of objects { kind of build id u8, 0 none | build id | path }* | locations, leaf first, to the end
//! location kind u8 | object + 1, 0 none | address | count of lines { function | file | line }*
//! ```
//! Integers are LEB128, texts and ids stand behind their length. Objects stand in the order of their first use.

use flamekeeper_profile::{
    BuildId, BuildIdKind, FrameKind, Line, Location, Object, SampleType, Stack, StackEnd, StackId, Svma, Tables, label,
};
use sha2::{Digest as _, Sha256};

use super::rowbinary::{Damaged, Reader, Rows};

/// The identity of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ContentId(pub(super) [u8; 16]);

impl ContentId {
    pub(super) fn of(content: &[u8]) -> Self {
        let hash = Sha256::digest(content);
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Self(id)
    }

    pub(super) fn hex(self) -> String {
        use std::fmt::Write as _;
        self.0.iter().fold(String::with_capacity(32), |mut text, byte| {
            // A String takes all that is written.
            _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Objects of one stack: more than an address space has files is damage.
const MAX_OBJECTS: u64 = 1 << 16;

/// The content of a stack of a batch. A handle that points nowhere is an empty thing, as in every other answer.
pub(super) fn encode_stack(tables: &Tables, stack: Option<&Stack>) -> Vec<u8> {
    let (ids, end) = stack.map_or((&[][..], StackEnd::Unstated), |stack| (&*stack.locations, stack.end));
    let locations: Vec<Option<&Location>> = ids.iter().map(|id| tables.location(*id)).collect();
    let mut objects = Vec::new();
    for object in locations.iter().filter_map(|location| (*location)?.object) {
        if !objects.contains(&object) {
            objects.push(object);
        }
    }
    let mut out = Rows::default();
    out.text(end.as_str());
    out.length(objects.len() as u64);
    for object in &objects {
        match tables.object(*object) {
            Some(Object { build_id, path }) => {
                out.raw(&[build_id.as_ref().map_or(0, |id| kind_code(id.kind()))]);
                out.string(build_id.as_ref().map_or(&[][..], BuildId::bytes));
                out.text(tables.string(*path));
            }
            None => out.raw(&[0, 0, 0]),
        }
    }
    for location in locations {
        let Some(location) = location else {
            out.raw(&[FrameKind::Other.code(), 0, 0, 0]);
            continue;
        };
        let object = location.object.and_then(|id| objects.iter().position(|object| *object == id));
        out.raw(&[location.kind.code()]);
        out.length(object.map_or(0, |place| place as u64 + 1));
        out.length(location.address.0);
        out.length(location.lines.len() as u64);
        for line in &location.lines {
            out.text(tables.string(line.function));
            out.text(tables.string(line.file));
            out.length(u64::from(line.line));
        }
    }
    out.into_bytes()
}

const fn kind_code(kind: BuildIdKind) -> u8 {
    match kind {
        BuildIdKind::Gnu => 1,
        BuildIdKind::Go => 2,
        BuildIdKind::Htlhash => 3,
    }
}

/// Reads a content into tables.
pub(super) fn decode_stack(bytes: &[u8], tables: &mut Tables) -> Result<(StackId, StackEnd), Damaged> {
    let mut reader = Reader::new(bytes);
    let end = StackEnd::parse(reader.text()?);
    let count = reader.length()?;
    if count > MAX_OBJECTS {
        return Err(Damaged);
    }
    let mut objects = Vec::new();
    for _ in 0..count {
        let [kind] = reader.fixed()?;
        let (id, path) = (reader.string()?, reader.text()?);
        let kind = match kind {
            0 => None,
            1 => Some(BuildIdKind::Gnu),
            2 => Some(BuildIdKind::Go),
            3 => Some(BuildIdKind::Htlhash),
            _ => return Err(Damaged),
        };
        let id = kind.map(|kind| BuildId::new(kind, id)).transpose().map_err(|_| Damaged)?;
        objects.push(tables.intern_object(id, path));
    }
    let mut locations = Vec::new();
    while !reader.is_empty() {
        let [kind] = reader.fixed()?;
        let object = match usize::try_from(reader.length()?).map_err(|_| Damaged)? {
            0 => None,
            next => Some(*objects.get(next - 1).ok_or(Damaged)?),
        };
        let address = Svma(reader.length()?);
        let mut lines = Vec::new();
        for _ in 0..reader.length()? {
            let (function, file) = (tables.intern_string(reader.text()?), tables.intern_string(reader.text()?));
            lines.push(Line { function, file, line: u32::try_from(reader.length()?).map_err(|_| Damaged)? });
        }
        let kind = FrameKind::from_code(kind);
        locations.push(tables.intern_location(Location { kind, object, address, lines: lines.into() }));
    }
    Ok((tables.intern_stack(&locations, end), end))
}

/// A sample type as a text in a column: its five parts as JSON.
pub(super) fn encode_type(sample_type: &SampleType) -> String {
    let SampleType { name, unit, period_name, period_unit, period } = sample_type;
    serde_json::json!([name, unit, period_name, period_unit, period]).to_string()
}

pub(super) fn decode_type(text: &str) -> Result<SampleType, Damaged> {
    let parts: (Box<str>, Box<str>, Box<str>, Box<str>, u64) = serde_json::from_str(text).map_err(|_| Damaged)?;
    let (name, unit, period_name, period_unit, period) = parts;
    Ok(SampleType { name, unit, period_name, period_unit, period })
}

/// Labels as a text in a column: an object of JSON, sorted by name.
pub(super) fn encode_labels(labels: &flamekeeper_profile::Labels) -> String {
    serde_json::Value::Object(labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect()).to_string()
}

pub(super) fn decode_labels(text: &str) -> Result<flamekeeper_profile::Labels, Damaged> {
    let read: std::collections::BTreeMap<String, String> = serde_json::from_str(text).map_err(|_| Damaged)?;
    Ok(read.iter().fold(flamekeeper_profile::Labels::new(), |labels, (name, value)| labels.with(name, value)))
}

/// The labels that are columns of every table of samples, where rows are not merged.
pub(super) const COLUMNS: [&str; 3] = [label::SERVICE, label::VERSION, label::HOST];

#[cfg(test)]
mod tests {
    use flamekeeper_profile::{Labels, StopReason};

    use super::*;

    fn tables() -> (Tables, StackId) {
        let mut tables = Tables::new();
        let unused = tables.intern_object(None, "not of this stack");
        tables.intern_address(FrameKind::Native, Some(unused), Svma(9));
        let id = BuildId::new(BuildIdKind::Go, b"x/y").unwrap();
        let (bin, vdso) = (tables.intern_object(Some(id), "/opt/ä"), tables.intern_object(None, "[vdso]"));
        let locations = [
            tables.intern_address(FrameKind::Native, Some(vdso), Svma(u64::MAX)),
            tables.intern_address(FrameKind::Native, Some(bin), Svma(0)),
            tables.intern_named(FrameKind::Kernel, None, Svma(1), "schedule"),
            tables.intern_address(FrameKind::Native, Some(vdso), Svma(5)),
        ];
        let stack = tables.intern_stack(&locations, StackEnd::Truncated(StopReason::NoMapping));
        (tables, stack)
    }

    /// A stack reads back as the same content in other tables; every cut is damage or another stack, never a panic.
    #[test]
    fn stacks_round_trip() {
        let (tables, stack) = tables();
        let content = encode_stack(&tables, tables.stack(stack));
        let mut read = Tables::new();
        read.intern_string("something before");
        let (again, end) = decode_stack(&content, &mut read).unwrap();
        assert_eq!(end, StackEnd::Truncated(StopReason::NoMapping));
        assert_eq!(encode_stack(&read, read.stack(again)), content);
        assert_eq!(ContentId::of(&content), ContentId::of(&content.clone()));
        for cut in 0..content.len() {
            if let Ok((other, _)) = decode_stack(&content[..cut], &mut Tables::new()) {
                assert_ne!(ContentId::of(&content[..cut]), ContentId::of(&content), "{other:?}");
            }
        }
        let nothing = encode_stack(&tables, None);
        assert_eq!(decode_stack(&nothing, &mut Tables::new()).unwrap().1, StackEnd::Unstated);
    }

    /// Types and labels read back whatever characters they hold.
    #[test]
    fn texts_round_trip() {
        let labels = Labels::new().with("service", "a\"b\\\n").with("host", "ünï");
        assert_eq!(decode_labels(&encode_labels(&labels)), Ok(labels));
        let sample_type = SampleType::plain("a,\"b", "bytes");
        assert_eq!(decode_type(&encode_type(&sample_type)), Ok(sample_type));
        assert_eq!((decode_type("[1]"), decode_labels("[]")), (Err(Damaged), Err(Damaged)));
    }
}
