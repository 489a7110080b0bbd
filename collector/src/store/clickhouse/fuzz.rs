//! What the fuzz target `clickhouse` calls: every reader of what the server answers.

use std::collections::HashMap;

use flamekeeper_profile::Tables;

use super::answers::{read_labels, read_point, read_sum};
use super::content::{decode_stack, encode_stack};
use super::hosts::read_host;
use super::rowbinary::Reader;

/// The first byte chooses the reader.
pub(crate) fn run(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else { return };
    let mut reader = Reader::new(rest);
    let mut rows = 0;
    match which % 5 {
        0 => return stack(rest),
        1 => {
            while read_host(&mut reader).is_ok() {
                rows += 1
            }
        }
        2 => {
            while read_sum(&mut reader, &mut HashMap::new()).is_ok() {
                rows += 1
            }
        }
        3 => {
            while read_point(&mut reader).is_ok() {
                rows += 1
            }
        }
        _ => {
            while read_labels(&mut reader).is_ok() {
                rows += 1
            }
        }
    }
    assert!(rows <= rest.len(), "every row takes bytes");
}

/// What was read is written in one form, whatever form it came in.
fn stack(bytes: &[u8]) {
    let mut tables = Tables::new();
    let Ok((id, end)) = decode_stack(bytes, &mut tables) else { return };
    let content = encode_stack(&tables, tables.stack(id));
    let mut again = Tables::new();
    match decode_stack(&content, &mut again) {
        Ok((id, same)) => {
            assert_eq!(same, end);
            assert_eq!(encode_stack(&again, again.stack(id)), content);
        }
        Err(damaged) => panic!("what was written does not read back: {damaged}"),
    }
}
