//! The dictionary of a message: seven tables whose entries refer to each other by index.

use std::borrow::Cow;

use flamekeeper_profile::{
    BuildId, BuildIdKind, FrameKind, Labels, Line, Location, LocationId, ObjectId, StackEnd, StackId, Svma, Tables, label,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};

use super::message::{self, Message, part};
use super::{DecodeError, check};
use crate::limits::Limits;
use crate::otlp::FRAME_TYPE;
use crate::otlp::attributes::{BUILD_ID_KINDS, build_id_attribute, label_of};

/// The message's tables, and ours, which are filled with what samples refer to.
pub(super) struct Dictionary<'a> {
    message: &'a Message<'a>,
    limits: &'a Limits,
    tables: Tables,
    locations: Vec<Option<LocationId>>,
    objects: Vec<Option<Option<ObjectId>>>,
    /// Each stack with the end that it was met with last.
    stacks: Vec<Option<(StackEnd, StackId)>>,
    /// The attribute of a location that was looked at last, and the frame type that it states.
    kind: Option<(i32, Option<FrameKind>)>,
    /// The locations of the stack at hand, as sent and as ours, kept for their memory.
    indices: Vec<i32>,
    buffer: Vec<LocationId>,
}

impl<'a> Dictionary<'a> {
    pub(super) fn new(message: &'a Message<'a>, limits: &'a Limits) -> Self {
        Self {
            locations: vec![None; message.locations.len()],
            objects: vec![None; message.mappings.len()],
            stacks: vec![None; message.stacks.len()],
            tables: Tables::with_capacity(message.locations.len(), message.stacks.len()),
            message,
            limits,
            kind: None,
            indices: Vec::new(),
            buffer: Vec::new(),
        }
    }

    pub(super) fn into_tables(self) -> Tables {
        self.tables
    }

    /// A text of the string table. An empty table stands for one that holds the empty text.
    pub(super) fn string(&self, index: i32) -> Result<&'a str, DecodeError> {
        if index == 0 && self.message.strings.is_empty() {
            return Ok("");
        }
        entry(&self.message.strings, "string", index).copied()
    }

    /// Key and value of an attribute of the dictionary.
    pub(super) fn attribute(&self, index: i32) -> Result<(&'a str, Cow<'a, str>), DecodeError> {
        let attribute = entry(&self.message.attributes, "attribute", index)?;
        Ok((self.string(attribute.key_strindex)?, self.value(attribute.value.as_ref())?))
    }

    /// The labels that attributes of a resource set, with a service name where none is stated.
    pub(super) fn labels(&self, attributes: &[KeyValue]) -> Result<Labels, DecodeError> {
        check("labels of one series", attributes.len(), self.limits.labels)?;
        let mut labels = Labels::new();
        for attribute in attributes {
            let key = if attribute.key.is_empty() { self.string(attribute.key_strindex)? } else { &attribute.key };
            check("bytes in a label's name", key.len(), self.limits.string_bytes)?;
            labels.set(label_of(key), &self.value(attribute.value.as_ref())?);
        }
        Ok(labels)
    }

    /// A value as text; empty for a list or map, which no label is.
    fn value<'v>(&self, value: Option<&'v AnyValue>) -> Result<Cow<'v, str>, DecodeError>
    where
        'a: 'v,
    {
        let text = match value.and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => Cow::Borrowed(&**text),
            Some(any_value::Value::StringValueStrindex(index)) => Cow::Borrowed(self.string(*index)?),
            Some(any_value::Value::BoolValue(value)) => Cow::Owned(value.to_string()),
            Some(any_value::Value::IntValue(value)) => Cow::Owned(value.to_string()),
            Some(any_value::Value::DoubleValue(value)) => Cow::Owned(value.to_string()),
            Some(any_value::Value::ArrayValue(_) | any_value::Value::KvlistValue(_) | any_value::Value::BytesValue(_)) | None => {
                Cow::Borrowed("")
            }
        };
        check("bytes in a value", text.len(), self.limits.string_bytes)?;
        Ok(text)
    }

    /// A stack of the message as one of ours.
    pub(super) fn stack(&mut self, index: i32, end: StackEnd) -> Result<StackId, DecodeError> {
        let message = self.message;
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(Some((known, id))) = self.stacks.get(place)
            && *known == end
        {
            return Ok(*id);
        }
        let mut indices = std::mem::take(&mut self.indices);
        indices.clear();
        match (index, &*message.stacks) {
            (0, []) => {}
            (_, stacks) => message::stack(entry(stacks, "stack", index)?, |index| indices.push(index))?,
        }
        check("locations in one stack", indices.len(), self.limits.stack_depth)?;
        self.buffer.clear();
        for index in &indices {
            let known = usize::try_from(*index).ok().and_then(|place| self.locations.get(place).copied().flatten());
            let location = match known {
                Some(location) => location,
                None => self.location(*index)?,
            };
            self.buffer.push(location);
        }
        self.indices = indices;
        let id = self.tables.intern_stack(&self.buffer, end);
        if let Some(known) = self.stacks.get_mut(place) {
            *known = Some((end, id));
        }
        Ok(id)
    }

    fn location(&mut self, index: i32) -> Result<LocationId, DecodeError> {
        let message = self.message;
        let location = entry(&message.locations, "location", index)?;
        // `entry` has checked the index, and `locations` is as long as the table.
        let place = usize::try_from(index).unwrap_or(0);
        if let Some(id) = self.locations[place] {
            return Ok(id);
        }
        let object = self.object(location.mapping)?;
        let mut kind = if object.is_some() { FrameKind::Native } else { FrameKind::Other };
        for index in part(&message.attribute_indices, &location.attributes) {
            kind = self.frame_kind(*index)?.unwrap_or(kind);
        }
        let lines = self.lines(part(&message.lines, &location.lines))?;
        let id = self.tables.intern_location(Location { kind, object, address: Svma(location.address), lines });
        self.locations[place] = Some(id);
        Ok(id)
    }

    fn lines(&mut self, sent: &[message::Line]) -> Result<Box<[Line]>, DecodeError> {
        check("inlined functions in one location", sent.len(), self.limits.stack_depth)?;
        let mut lines = Vec::with_capacity(sent.len());
        for line in sent {
            let function = entry(&self.message.functions, "function", line.function)?;
            let name = self.string(function.name)?;
            let name = if name.is_empty() { self.string(function.system_name)? } else { name };
            let file = self.string(function.file)?;
            let (function, file) = (self.tables.intern_string(name), self.tables.intern_string(file));
            lines.push(Line { function, file, line: u32::try_from(line.line).unwrap_or(0) });
        }
        Ok(lines.into())
    }

    /// What runs the code, where an attribute of a location says so. Neighbours mostly have the same.
    fn frame_kind(&mut self, index: i32) -> Result<Option<FrameKind>, DecodeError> {
        match self.kind {
            Some((known, kind)) if known == index => Ok(kind),
            _ => {
                let (key, value) = self.attribute(index)?;
                let kind = (key == FRAME_TYPE).then(|| FrameKind::parse(&value));
                self.kind = Some((index, kind));
                Ok(kind)
            }
        }
    }

    fn object(&mut self, index: i32) -> Result<Option<ObjectId>, DecodeError> {
        if index == 0 {
            return Ok(None);
        }
        let mapping = entry(&self.message.mappings, "mapping", index)?;
        let place = usize::try_from(index).unwrap_or(0);
        if let Some(object) = self.objects[place] {
            return Ok(object);
        }
        let mut best: Option<(usize, BuildId)> = None;
        for index in &mapping.attribute_indices {
            let (key, value) = self.attribute(*index)?;
            let Some(rank) = BUILD_ID_KINDS.iter().position(|kind| build_id_attribute(*kind) == key) else { continue };
            if best.as_ref().is_none_or(|(found, _)| rank < *found) {
                best = Some((rank, build_id(BUILD_ID_KINDS[rank], &value)?));
            }
        }
        let path = self.string(mapping.filename_strindex)?;
        let object = Some(self.tables.intern_object(best.map(|(_, id)| id), path));
        self.objects[place] = Some(object);
        Ok(object)
    }
}

fn build_id(kind: BuildIdKind, text: &str) -> Result<BuildId, DecodeError> {
    let parsed = match kind {
        BuildIdKind::Go => BuildId::new(kind, text.as_bytes()),
        BuildIdKind::Gnu | BuildIdKind::Htlhash => BuildId::from_hex(kind, text),
    };
    parsed.map_err(|_| DecodeError::Rule("a mapping has a build id that is not hexadecimal, empty, or too long"))
}

/// The service of a series that states none: its executable, or `unknown`.
pub(super) fn name_service(labels: &mut Labels) {
    if labels.get(label::SERVICE).is_empty() {
        let exe = labels.get(label::EXE);
        let names = [labels.get(label::COMM), exe.rsplit('/').next().unwrap_or(exe), "unknown"];
        let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or("unknown").to_owned();
        labels.set(label::SERVICE, &name);
    }
}

fn entry<'t, T>(table: &'t [T], name: &'static str, index: i32) -> Result<&'t T, DecodeError> {
    let found = usize::try_from(index).ok().and_then(|index| table.get(index));
    found.ok_or(DecodeError::Index { table: name, index: i64::from(index), len: table.len() })
}
