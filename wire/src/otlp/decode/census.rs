//! Counts the messages in a body before it is decoded.
//!
//! A sub-message takes two bytes on the wire and up to some 200 in memory, so a body within the byte limit could still take
//! gigabytes. This walk allocates nothing and refuses such a body first.

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::{DecodeError, check};

/// The fields of a message that hold messages: field number and what is in them. Fields that hold few bytes each for
/// what they take in memory (numbers, packed lists) need no count.
struct Schema(&'static [(u32, &'static Self)]);

static LEAF: Schema = Schema(&[]);
static VALUE: Schema = Schema(&[(5, &LIST), (6, &MAP)]);
static LIST: Schema = Schema(&[(1, &VALUE)]);
static MAP: Schema = Schema(&[(1, &KEY_VALUE)]);
static KEY_VALUE: Schema = Schema(&[(2, &VALUE)]);
static PROFILE: Schema = Schema(&[(2, &LEAF)]);
static SCOPE: Schema = Schema(&[(3, &KEY_VALUE)]);
static SCOPE_PROFILES: Schema = Schema(&[(1, &SCOPE), (2, &PROFILE)]);
static ENTITY: Schema = Schema(&[(3, &LEAF), (4, &LEAF)]);
static RESOURCE: Schema = Schema(&[(1, &KEY_VALUE), (3, &ENTITY)]);
static RESOURCE_PROFILES: Schema = Schema(&[(1, &RESOURCE), (2, &SCOPE_PROFILES)]);
static LOCATION: Schema = Schema(&[(3, &LEAF)]);
static DICTIONARY: Schema = Schema(&[(1, &LEAF), (2, &LOCATION), (3, &LEAF), (4, &LEAF), (5, &LEAF), (6, &KEY_VALUE), (7, &LEAF)]);
static REQUEST: Schema = Schema(&[(1, &RESOURCE_PROFILES), (2, &DICTIONARY)]);

/// What a message takes at the least: its field and its length.
const LEAST_BYTES: usize = 2;

/// Messages may nest this deep (values that are lists of lists); the decoder has the same bound.
const MAX_DEPTH: usize = 100;

/// Checks that a request holds at most `limit` messages and texts.
pub(super) fn check_messages(body: &[u8], limit: usize) -> Result<(), DecodeError> {
    // Most bodies are so small that they cannot hold more.
    if body.len() / LEAST_BYTES <= limit {
        return Ok(());
    }
    walk(body, &REQUEST, MAX_DEPTH, &mut Count { found: 0, limit })
}

struct Count {
    found: usize,
    limit: usize,
}

fn walk(mut body: &[u8], schema: &Schema, depth: usize, count: &mut Count) -> Result<(), DecodeError> {
    if depth == 0 {
        return Err(DecodeError::Rule("the body nests its values too deep"));
    }
    while body.has_remaining() {
        let (field, wire_type) = decode_key(&mut body)?;
        let inner = schema.0.iter().find(|(number, _)| *number == field);
        let Some((_, inner)) = inner.filter(|_| wire_type == WireType::LengthDelimited) else {
            skip_field(wire_type, field, &mut body, DecodeContext::default())?;
            continue;
        };
        let len = usize::try_from(decode_varint(&mut body)?).unwrap_or(usize::MAX);
        let Some(message) = body.get(..len) else {
            return Err(DecodeError::Rule("the body ends within a message"));
        };
        count.found += 1;
        check("messages (or more)", count.found, count.limit)?;
        if !inner.0.is_empty() {
            walk(message, inner, depth - 1, count)?;
        }
        body.advance(len);
    }
    Ok(())
}
