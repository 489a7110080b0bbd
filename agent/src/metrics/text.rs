//! The figures in the text format of Prometheus, version 0.0.4.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>: for each metric `# HELP` and `# TYPE`, then its samples.
//! Names end with their unit (`_seconds`, `_bytes`), those of counters with `_total`.

use std::fmt::{Display, Write as _};

use flamekeeper_profile::{Figure, LossReason, StopReason};

use super::Source;
use crate::heap::Loss;
use crate::progress::Progress;

/// The media type of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All figures.
pub(super) fn write(source: &Source) -> String {
    let mut page = Page(String::with_capacity(8 << 10));
    process(&mut page, source);
    sampling(&mut page, source);
    heaps(&mut page, source);
    memory(&mut page, source);
    faults(&mut page, source);
    caches(&mut page, source);
    shipping(&mut page, source);
    budget(&mut page, source);
    page.0
}

fn process(page: &mut Page, source: &Source) {
    let stats = &source.stats;
    page.gauge("build_info", "The agent's version.", &[(&[("version", env!("CARGO_PKG_VERSION"))], 1.0)]);
    let figures = stats.figures();
    let figure = |figure| float(figures.get(figure).unwrap_or_default());
    let budget = stats.budget.as_deref();
    let cpu = budget.map_or(0, |budget| budget.cpu_nanoseconds());
    page.counter("cpu_seconds_total", "CPU time of the agent's own threads.", &[(&[], float(cpu) / 1e9)]);
    page.gauge("resident_memory_bytes", "Resident memory of the whole process.", &[(&[], figure(Figure::ResidentBytes))]);
    let anonymous = float(budget.map_or(0, |budget| budget.anonymous_bytes()));
    page.gauge("anonymous_memory_bytes", "Resident memory of the whole process that is of no file.", &[(&[], anonymous)]);
    page.gauge("ring_memory_bytes", "Memory of the rings shared with the kernel.", &[(&[], figure(Figure::RingBytes))]);
}

fn sampling(page: &mut Page, source: &Source) {
    let stats = &source.stats;
    page.counter("samples_total", "Samples taken, those lost included.", &[(&[], float(stats.samples.get()))]);
    let lost: Vec<_> = LossReason::ALL.iter().map(|reason| ([("reason", reason.as_str())], *reason as usize)).collect();
    let lost: Vec<_> = lost.iter().map(|(labels, place)| (&labels[..], float(stats.lost_by_reason[*place].get()))).collect();
    page.counter("samples_lost_total", "Samples taken and lost before they reached the spool, by reason.", &lost);
    let ends: Vec<_> = StopReason::ALL.iter().map(|reason| ([("reason", reason.as_str())], *reason as usize)).collect();
    let ends: Vec<_> = ends.iter().map(|(labels, place)| (&labels[..], float(stats.truncated_by_reason[*place].get()))).collect();
    page.counter("stacks_truncated_total", "Samples whose stack ends before its root, by reason.", &ends);
    page.counter("unwind_seconds_total", "Time spent on unwinding user stacks.", &[(&[], float(stats.unwind_ns.get()) / 1e9)]);
    page.counter("windows_total", "Windows closed.", &[(&[], float(stats.windows.get()))]);
    let split = float(stats.windows_split.get());
    page.counter("windows_split_total", "Windows closed before their edge because their tables were full.", &[(&[], split)]);
    page.counter("throttled_total", "Times that the kernel slowed sampling down.", &[(&[], float(stats.throttled.get()))]);
    page.counter("records_late_total", "Records that came after a younger one.", &[(&[], float(stats.late.get()))]);
}

fn heaps(page: &mut Page, source: &Source) {
    let stats = &source.stats;
    page.counter(
        "heap_samples_total",
        "Samples that processes took of their heaps, those lost included.",
        &[(&[], float(stats.heap_samples.get()))],
    );
    let lost: Vec<_> = Loss::ALL.iter().map(|reason| ([("reason", reason.as_str())], *reason as usize)).collect();
    let lost: Vec<_> = lost.iter().map(|(labels, place)| (&labels[..], float(stats.heap_lost[*place].get()))).collect();
    page.counter("heap_samples_lost_total", "Heap samples lost in whole or in part, by reason.", &lost);
    let get = |counter| float(Progress::get(counter));
    let scrapes = [
        (&[("outcome", "read")][..], get(&source.progress.heaps_scraped)),
        (&[("outcome", "failed")][..], get(&source.progress.heaps_not_scraped)),
    ];
    page.counter("heap_scrapes_total", "Heap profiles of programs ([[scrape]]), by outcome.", &scrapes);
}

fn memory(page: &mut Page, source: &Source) {
    let stats = &source.stats;
    let readings = [
        (&[("of", "levels")][..], float(stats.memory_readings.get())),
        (&[("of", "proportional_shares")][..], float(stats.memory_rollups.get())),
    ];
    page.counter("memory_readings_total", "Times that the memory of a process was read, by what was read.", &readings);
    let lost = float(stats.memory_lost.get());
    page.counter("memory_readings_lost_total", "Readings of a process's memory that are in no window.", &[(&[], lost)]);
}

fn faults(page: &mut Page, source: &Source) {
    let stats = &source.stats;
    let samples = float(stats.fault_samples.get());
    page.counter("page_fault_samples_total", "Samples of page faults, those lost included.", &[(&[], samples)]);
    let lost: Vec<_> = LossReason::ALL.iter().map(|reason| ([("reason", reason.as_str())], *reason as usize)).collect();
    let lost: Vec<_> = lost.iter().map(|(labels, place)| (&labels[..], float(stats.fault_samples_lost[*place].get()))).collect();
    page.counter("page_fault_samples_lost_total", "Samples of page faults that were taken and lost, by reason.", &lost);
    let faults =
        [(&[("outcome", "kept")][..], float(stats.faults.get())), (&[("outcome", "missed")][..], float(stats.faults_missed.get()))];
    page.counter("page_faults_total", "Page faults that samples stand for: of those kept, and of those that found no room.", &faults);
}

fn caches(page: &mut Page, source: &Source) {
    let stats = &source.stats;
    page.gauge("processes", "Processes known.", &[(&[], float(stats.processes.get()))]);
    page.gauge("objects", "Objects whose unwind information is loaded.", &[(&[], float(stats.objects.get()))]);
    let bytes = float(stats.cache_bytes.get());
    page.gauge("cache_bytes", "Unwind information, processes and names of generated code.", &[(&[], bytes)]);
    let lookups =
        [(&[("result", "hit")][..], float(stats.object_hits.get())), (&[("result", "miss")][..], float(stats.object_loads.get()))];
    page.counter("object_lookups_total", "Frames whose object was loaded already, and objects that were loaded.", &lookups);
    let evicted = float(stats.evicted.get());
    page.counter("evictions_total", "Processes, objects and names forgotten to hold the memory ceiling.", &[(&[], evicted)]);
    page.counter("mappings_refused_total", "Mappings one too many for their process.", &[(&[], float(stats.mappings_refused.get()))]);
    let unannounced = float(stats.objects_unannounced.get());
    page.counter("objects_unannounced_total", "Objects that the uploader had no room for.", &[(&[], unannounced)]);
}

fn shipping(page: &mut Page, source: &Source) {
    let progress = &source.progress;
    let get = |counter| float(Progress::get(counter));
    page.gauge("spool_batches", "Batches that wait on disk.", &[(&[], get(&progress.spool_batches))]);
    page.gauge("spool_bytes", "Bytes of the batches that wait on disk.", &[(&[], get(&progress.spool_bytes))]);
    let batches = [
        (&[("outcome", "accepted")][..], get(&progress.batches_accepted)),
        (&[("outcome", "duplicate")][..], get(&progress.batches_duplicate)),
        (&[("outcome", "refused")][..], get(&progress.batches_refused)),
    ];
    page.counter("batches_total", "Batches that the collector answered for good, by outcome.", &batches);
    let denied = get(&progress.requests_denied);
    page.counter("requests_denied_total", "Requests that the collector turned away: a token is missing or wrong.", &[(&[], denied)]);
    let objects = [
        (&[("outcome", "uploaded")][..], get(&progress.objects_uploaded)),
        (&[("outcome", "skipped")][..], get(&progress.objects_skipped)),
        (&[("outcome", "without_symbols")][..], get(&progress.objects_without_symbols)),
    ];
    page.counter("symbol_objects_total", "Objects whose symbols were uploaded, or left out, or that have none.", &objects);
    page.counter("symbol_bytes_total", "Bytes of symbols that were sent, compressed.", &[(&[], get(&progress.symbol_bytes_sent))]);
    let reachable = f64::from(u8::from(progress.reachable.load(std::sync::atomic::Ordering::Relaxed)));
    page.gauge("collector_reachable", "Whether the collector answered the last request.", &[(&[], reachable)]);
}

fn budget(page: &mut Page, source: &Source) {
    let figures = source.stats.figures();
    let figure = |figure| float(figures.get(figure).unwrap_or_default());
    let cores = |name| figure(name) / 1e6;
    page.gauge("budget_cpu_cores", "CPU time over the budget's horizon, in cores.", &[(&[], cores(Figure::CpuMicrocores))]);
    page.gauge("budget_cpu_ceiling_cores", "How much of it the agent may use.", &[(&[], cores(Figure::CpuCeilingMicrocores))]);
    page.gauge("budget_memory_bytes", "Memory that counts, rings included.", &[(&[], figure(Figure::MemoryBytes))]);
    page.gauge("budget_memory_ceiling_bytes", "How much of it the agent may use.", &[(&[], figure(Figure::MemoryCeilingBytes))]);
    let hertz = |name| figure(name) / 1e3;
    page.gauge("frequency_hertz", "Samples a second on each busy CPU, now.", &[(&[], hertz(Figure::FrequencyMillihertz))]);
    page.gauge("frequency_configured_hertz", "Samples a second that are configured.", &[(&[], hertz(Figure::ConfiguredMillihertz))]);
    let restraints = [
        (&[("of", "uploads")][..], figure(Figure::UploadsPaused)),
        (&[("of", "frequency")][..], figure(Figure::FrequencySteps)),
        (&[("of", "caches")][..], figure(Figure::CacheSteps)),
        (&[("of", "wakes")][..], figure(Figure::WakesSlowed)),
    ];
    page.gauge("budget_restraint", "Steps by which the agent restrains itself now; 0 is none.", &restraints);
    let [lowered, raised, shrunk] = source.stats.budget.as_deref().map_or([0; 3], |budget| budget.actions()).map(float);
    let actions = [
        (&[("action", "lower_frequency")][..], lowered),
        (&[("action", "raise_frequency")][..], raised),
        (&[("action", "shrink_caches")][..], shrunk),
    ];
    page.counter("budget_actions_total", "What the agent did to stay within its budget.", &actions);
}

/// A sample: labels and value.
type Sample<'a> = (&'a [(&'a str, &'a str)], f64);

struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, samples: &[Sample<'_>]) {
        self.metric(name, "gauge", help, samples);
    }

    fn counter(&mut self, name: &str, help: &str, samples: &[Sample<'_>]) {
        self.metric(name, "counter", help, samples);
    }

    fn metric(&mut self, name: &str, kind: &str, help: &str, samples: &[Sample<'_>]) {
        self.line(&format_args!("# HELP flamekeeper_agent_{name} {help}"));
        self.line(&format_args!("# TYPE flamekeeper_agent_{name} {kind}"));
        for (labels, value) in samples {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", Escaped(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            self.line(&format_args!("flamekeeper_agent_{name}{labels} {value}"));
        }
    }

    fn line(&mut self, line: &dyn Display) {
        // Writing to a String cannot fail.
        _ = writeln!(self.0, "{line}");
    }
}

/// A label's value: backslash, quote and line feed are escaped.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// A count as the format has numbers; exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
const fn float(count: u64) -> f64 {
    count as f64
}
