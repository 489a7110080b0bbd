//! What a batch may hold at most.

/// Limits on a batch. A body beyond one is refused with the limit's name, never cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the body as sent.
    pub compressed_bytes: usize,
    /// Bytes of the body decompressed.
    pub decompressed_bytes: usize,
    /// Messages inside the body: samples, table entries, attributes and so on, all together.
    pub messages: usize,
    /// Entries of any one dictionary table.
    pub table_entries: usize,
    /// Locations of one stack.
    pub stack_depth: usize,
    /// Samples of all profiles together.
    pub samples: usize,
    /// Series (profiles) in one batch.
    pub series: usize,
    /// Bytes of one string; labels and names beyond it are refused.
    pub string_bytes: usize,
    /// Labels of one series.
    pub labels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            compressed_bytes: 16 << 20,
            decompressed_bytes: 64 << 20,
            messages: 1 << 20,
            table_entries: 1 << 19,
            stack_depth: 2048,
            samples: 1 << 19,
            series: 1 << 16,
            string_bytes: 16 << 10,
            labels: 64,
        }
    }
}
