//! What the fuzz targets call (`fuzz/`): parsers of foreign bytes that are private otherwise. No part of the API.

/// What a ClickHouse server answers: contents of stacks, ledgers of hosts, sums, labels. A stack that was read is written in one form.
pub fn clickhouse(bytes: &[u8]) {
    crate::store::fuzz_clickhouse(bytes);
}
