//! `GET /metrics`: the collector's figures in the text format of Prometheus (exposition format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::HeaderValue;

use super::status::StatusState;
use crate::http::ApiError;
use crate::store::StoreStatus;
use crate::webhook::WebhookCounters;

pub(super) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// All figures. Those called `_total` count since the collector started, but for batches and samples, which count since the store was made.
///
/// # Errors
/// Where the store cannot be asked.
pub(super) fn text(state: &StatusState) -> Result<String, ApiError> {
    let mut page = Page::default();
    page.one("flamekeeper_collector_start_time_seconds", "gauge", "Start of the collector, unix time.", state.started.as_seconds());
    let pressure = &state.queries.pressure;
    page.one("flamekeeper_collector_memory_limit_bytes", "gauge", "Memory that the collector may take.", pressure.limit());
    page.one("flamekeeper_collector_anonymous_memory_bytes", "gauge", "Anonymous memory that it takes.", pressure.anonymous());
    page.one("flamekeeper_collector_memory_refusals_total", "counter", "What was sent away near the limit.", pressure.sent_away());
    doors(&mut page, state);
    ingest(&mut page, state);
    store(&mut page, &state.store.status()?);
    queries(&mut page, state);
    symbols(&mut page, state);
    if let Some(announcer) = &state.announcer {
        webhook(&mut page, announcer.counters());
    }
    Ok(page.text)
}

fn doors(page: &mut Page, state: &StatusState) {
    let refused = state.doors.gate.refusals();
    page.family("flamekeeper_access_refused_total", "Requests that were turned away, by reason.", "reason", &refused);
    page.one("flamekeeper_access_tokens", "gauge", "Tokens that are good for something now.", state.doors.gate.known_tokens());
    let connections = &state.doors.connections;
    page.one("flamekeeper_connections", "gauge", "Connections that are open.", connections.open());
    let failed = connections.failed_handshakes();
    page.one("flamekeeper_tls_failures_total", "counter", "Connections that did not become secure.", failed);
}

fn ingest(page: &mut Page, state: &StatusState) {
    page.one("flamekeeper_ingest_duplicates_total", "counter", "Batches that were sent again.", load(&state.counters.duplicates));
    let refused = state.counters.refusals();
    page.family("flamekeeper_ingest_refused_total", "Batches that were not taken, by reason.", "reason", &refused);
}

fn store(page: &mut Page, status: &StoreStatus) {
    page.one("flamekeeper_store_batches_total", "counter", "Batches stored.", status.batches);
    page.one("flamekeeper_store_samples_taken_total", "counter", "Samples that agents took.", status.ledger.taken);
    page.one("flamekeeper_store_samples_total", "counter", "Samples stored.", status.samples_stored);
    let lost: BTreeMap<&str, u64> = status.ledger.losses().map(|(reason, count)| (reason.as_str(), count)).collect();
    page.family("flamekeeper_store_samples_lost_total", "Samples lost by agents, by reason.", "reason", &lost);
    page.one("flamekeeper_store_bytes", "gauge", "Bytes on disk.", status.bytes);
    page.one("flamekeeper_store_writable", "gauge", "Whether batches can be stored.", u8::from(status.writable));
    page.one("flamekeeper_store_lacking_buckets", "gauge", "Minutes and hours that rows are still to be added to.", status.lacking);
    page.one("flamekeeper_store_slots_deleted_total", "counter", "Slots of time that were deleted.", status.deleted.slots);
    page.one("flamekeeper_store_deleted_by_size_total", "counter", "Passes that deleted because of size.", status.deleted.by_size);
    page.one("flamekeeper_store_refused_full_total", "counter", "Batches sent away because there was no room.", status.refused_full);
    let from = [("raw", status.raw_from), ("minute", status.minute_from), ("hour", status.hour_from)];
    let from = from.into_iter().map(|(tier, from)| (tier, from.as_seconds())).collect();
    page.gauges("flamekeeper_store_kept_from_seconds", "From when on a tier holds everything, unix time.", "tier", &from);
}

fn queries(page: &mut Page, state: &StatusState) {
    let counters = &state.queries.counters;
    let outcomes = [
        ("answered", &counters.answered),
        ("failed", &counters.failed),
        ("busy", &counters.busy),
        ("overdue", &counters.overdue),
        ("left", &counters.left),
    ];
    let outcomes = outcomes.into_iter().map(|(name, counter)| (name, load(counter))).collect();
    page.family("flamekeeper_queries_total", "Questions by what became of them.", "outcome", &outcomes);
    page.one("flamekeeper_query_rows_total", "counter", "Rows read for questions.", load(&counters.rows));
    let seconds = std::time::Duration::from_micros(load(&counters.microseconds)).as_secs_f64();
    page.one("flamekeeper_query_seconds_total", "counter", "Time worked on questions.", seconds);
    page.one("flamekeeper_queries_running", "gauge", "Questions under way or waiting.", state.queries.running().len());
}

fn symbols(page: &mut Page, state: &StatusState) {
    let status = state.symbols.status();
    page.one("flamekeeper_symbols_objects", "gauge", "Objects that have symbols.", status.objects);
    page.one("flamekeeper_symbols_bytes", "gauge", "Bytes of symbols on disk.", status.bytes);
    page.one("flamekeeper_symbols_bad_objects", "gauge", "Objects that cannot be converted.", status.bad);
    page.one("flamekeeper_symbols_conversions_total", "counter", "Objects converted.", status.conversions);
    page.family("flamekeeper_symbols_failures_total", "Conversions that failed, by reason.", "reason", &status.failures);
    page.one("flamekeeper_symbols_evictions_total", "counter", "Objects deleted to make room.", status.evictions);
    page.one("flamekeeper_symbols_cache_hits_total", "counter", "Lookups answered from memory.", status.cache_hits);
    page.one("flamekeeper_symbols_cache_misses_total", "counter", "Lookups in symbol files.", status.cache_misses);
    let uploads = &state.uploads.counters;
    page.one("flamekeeper_uploads_bytes_total", "counter", "Bytes of symbols received.", load(&uploads.bytes));
    page.one("flamekeeper_uploads_objects_total", "counter", "Objects received whole.", load(&uploads.objects));
    page.one("flamekeeper_uploads_refused_total", "counter", "Objects received that are of no use.", load(&uploads.refused));
    page.one("flamekeeper_uploads_abandoned_total", "counter", "Uploads that were begun and left.", load(&uploads.abandoned));
}

fn webhook(page: &mut Page, counters: &WebhookCounters) {
    let outcomes = [("sent", &counters.sent), ("refused", &counters.refused), ("failed", &counters.failed)];
    let outcomes = outcomes.into_iter().map(|(name, counter)| (name, load(counter))).collect();
    page.family("flamekeeper_webhook_reports_total", "Reports of new versions, by what became of them.", "outcome", &outcomes);
    page.one("flamekeeper_webhook_retries_total", "counter", "Attempts that the webhook did not take.", load(&counters.retried));
    page.one("flamekeeper_webhook_waiting", "gauge", "New versions that wait for samples.", load(&counters.waiting));
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The text so far. Names and labels are ours, so that nothing in them needs to be escaped.
#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        _ = writeln!(self.text, "{name} {value}");
    }

    /// A counter for each value of a label.
    fn family(&mut self, name: &str, help: &str, label: &str, values: &BTreeMap<&str, u64>) {
        self.head(name, "counter", help);
        self.values(name, label, values);
    }

    /// A gauge for each value of a label.
    fn gauges(&mut self, name: &str, help: &str, label: &str, values: &BTreeMap<&str, f64>) {
        self.head(name, "gauge", help);
        self.values(name, label, values);
    }

    fn values(&mut self, name: &str, label: &str, values: &BTreeMap<&str, impl Display>) {
        for (key, value) in values {
            _ = writeln!(self.text, "{name}{{{label}=\"{key}\"}} {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A family is a head and a line for each value.
    #[test]
    fn writes_families() {
        let mut page = Page::default();
        page.family("x_total", "Help.", "reason", &BTreeMap::from([("a", 1), ("b", 2)]));
        assert_eq!(page.text, "# HELP x_total Help.\n# TYPE x_total counter\nx_total{reason=\"a\"} 1\nx_total{reason=\"b\"} 2\n");
    }
}
