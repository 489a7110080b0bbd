//! The schema: which tables there are, as statements.
//!
//! On one server the tables are `MergeTree`s. With the name of a cluster each becomes two: `X_local`, replicated within its shard, and
//! `X`, which is `Distributed` over the shards by the host, so that a batch lies on one shard as a whole. Views read and write
//! local tables. Whatever is asked or written names `X`.

use super::migrate::Ages;

/// The version of the schema that this program reads and writes.
pub(super) const VERSION: u32 = 1;

/// Nanoseconds.
const MINUTE: u64 = 60_000_000_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// How many tokens of inserts a table remembers. They must hold what comes within [`super::append::TOKENS_HOLD`].
const TOKENS: u32 = 100_000;

/// Where tables are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) database: &'a str,
    /// None for a single server.
    pub(super) cluster: Option<&'a str>,
}

/// A table of samples or ledgers; its statement is put together by [`Place::table`].
struct Table {
    name: &'static str,
    columns: &'static str,
    /// Of `MergeTree`: what stands before it, and its own arguments.
    family: &'static str,
    arguments: &'static str,
    partition: String,
    order: String,
    /// The instant of a row in nanoseconds, and which age it is kept for; none for ever.
    kept: Option<(&'static str, Kept)>,
    /// What chooses the shard.
    shard: &'static str,
}

#[derive(Clone, Copy)]
enum Kept {
    Raw,
    Minute,
    Hour,
    Words,
}

/// A view that fills a table from another as rows are inserted.
struct View {
    to: &'static str,
    from: &'static str,
    select: String,
    group: &'static str,
}

impl Place<'_> {
    /// The statements that make all that is not there. Each may be repeated.
    pub(super) fn create(&self, ages: Ages) -> Vec<String> {
        let mut all = vec![format!("CREATE DATABASE IF NOT EXISTS {}{}", self.database, self.on_cluster()), self.versions()];
        for table in tables() {
            all.extend(self.table(&table, ages));
        }
        all.extend(views().iter().map(|view| self.view(view)));
        all
    }

    /// The statements that set how long rows are kept.
    pub(super) fn keep(&self, ages: Ages) -> Vec<String> {
        let kept = |table: &Table| {
            let expression = expiry(table, ages)?;
            Some(format!("ALTER TABLE {}.{}{} MODIFY TTL {expression}", self.database, self.local(table.name), self.on_cluster()))
        };
        tables().iter().filter_map(kept).collect()
    }

    fn on_cluster(&self) -> String {
        self.cluster.map(|cluster| format!(" ON CLUSTER `{cluster}`")).unwrap_or_default()
    }

    fn local(&self, name: &str) -> String {
        if self.cluster.is_some() { format!("{name}_local") } else { name.to_owned() }
    }

    /// The table of versions: on a cluster one for all shards.
    fn versions(&self) -> String {
        let engine = match self.cluster {
            Some(_) => format!("ReplicatedMergeTree('/clickhouse/tables/all/{}/versions', '{{shard}}-{{replica}}')", self.database),
            None => "MergeTree".to_owned(),
        };
        format!(
            "CREATE TABLE IF NOT EXISTS {}.versions{} (version UInt32, raw_age UInt64, minute_age UInt64, hour_age UInt64, \
             migrated DateTime64(6) DEFAULT now64(6)) ENGINE = {engine} ORDER BY migrated",
            self.database,
            self.on_cluster()
        )
    }

    fn table(&self, table: &Table, ages: Ages) -> Vec<String> {
        let (database, name, on_cluster) = (self.database, table.name, self.on_cluster());
        let mut arguments: Vec<String> = Vec::new();
        if self.cluster.is_some() {
            arguments.extend([format!("'/clickhouse/tables/{{shard}}/{database}/{name}'"), "'{replica}'".to_owned()]);
        }
        arguments.extend((!table.arguments.is_empty()).then(|| table.arguments.to_owned()));
        let replicated = if self.cluster.is_some() { "Replicated" } else { "" };
        let ttl = expiry(table, ages).map(|ttl| format!(" TTL {ttl}")).unwrap_or_default();
        let tokens = match self.cluster {
            Some(_) => format!("replicated_deduplication_window = {TOKENS}, replicated_deduplication_window_seconds = 86400"),
            None => format!("non_replicated_deduplication_window = {TOKENS}, fsync_after_insert = 1, fsync_part_directory = 1"),
        };
        let local = self.local(name);
        let partition = &table.partition;
        let mut all = vec![format!(
            "CREATE TABLE IF NOT EXISTS {database}.{local}{on_cluster} ({}) ENGINE = {replicated}{}MergeTree({}) PARTITION BY {partition} \
             ORDER BY ({}){ttl} SETTINGS ttl_only_drop_parts = 1, {tokens}",
            table.columns,
            table.family,
            arguments.join(", "),
            table.order
        )];
        if let Some(cluster) = self.cluster {
            all.push(format!(
                "CREATE TABLE IF NOT EXISTS {database}.{name}{on_cluster} AS {database}.{local} \
                 ENGINE = Distributed(`{cluster}`, {database}, {local}, {})",
                table.shard
            ));
        }
        all
    }

    fn view(&self, view: &View) -> String {
        let (database, to, from) = (self.database, self.local(view.to), self.local(view.from));
        format!(
            "CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.{}_view{} TO {database}.{to} AS SELECT {} FROM {database}.{from} AS source \
             GROUP BY {}",
            view.to,
            self.on_cluster(),
            view.select,
            view.group
        )
    }
}

/// When a row may go: with its part, when all of that are old. A part holds up to a partition, and floors rise by slots (`tier.rs`), so
/// nothing goes that is still read.
fn expiry(table: &Table, ages: Ages) -> Option<String> {
    let (instant, kept) = table.kept?;
    let seconds = match kept {
        Kept::Raw => ages.raw + DAY / 1_000_000_000,
        Kept::Minute => ages.minute + DAY / 1_000_000_000,
        // A dictionary outlives what refers to it.
        Kept::Hour | Kept::Words => ages.hour + WEEK / 1_000_000_000,
    };
    Some(format!("toDateTime(intDiv({instant}, 1000000000)) + INTERVAL {seconds} SECOND"))
}

const SAMPLE: &str = "at UInt64 CODEC(Delta, ZSTD(1)), service LowCardinality(String), version LowCardinality(String), \
     host LowCardinality(String), profile LowCardinality(String), sample_type LowCardinality(String), \
     series FixedString(16) CODEC(ZSTD(1)), stack FixedString(16) CODEC(ZSTD(1)), stack_end LowCardinality(String), \
     value UInt64 CODEC(T64, ZSTD(1))";
const MERGED: &str = "at UInt64 CODEC(Delta, ZSTD(1)), service LowCardinality(String), version LowCardinality(String), \
     profile LowCardinality(String), sample_type LowCardinality(String), stack FixedString(16) CODEC(ZSTD(1)), \
     stack_end LowCardinality(String), value UInt64 CODEC(T64, ZSTD(1))";
const HOSTS: &str = "at UInt64 CODEC(Delta, ZSTD(1)), service LowCardinality(String), version LowCardinality(String), \
     profile LowCardinality(String), host LowCardinality(String)";
const LEDGER: &str = "at UInt64 CODEC(Delta, ZSTD(1)), labels String CODEC(ZSTD(1)), \
     until SimpleAggregateFunction(max, UInt64), counts SimpleAggregateFunction(sumMap, Map(String, UInt64)), \
     figures SimpleAggregateFunction(max, Tuple(UInt64, String))";
const BATCH: &str = "agent LowCardinality(String), sequence UInt64 CODEC(Delta, ZSTD(1)), at UInt64 CODEC(Delta, ZSTD(1)), until UInt64, \
     host LowCardinality(String), labels String CODEC(ZSTD(1)), samples UInt64, counts Map(String, UInt64), figures String CODEC(ZSTD(1))";
const SERIES: &str = "slot UInt32, service LowCardinality(String), host LowCardinality(String), id FixedString(16), \
     labels Map(LowCardinality(String), String)";
const STACKS: &str = "slot UInt32, service LowCardinality(String), id FixedString(16), content String CODEC(ZSTD(3))";
const TOTALS: &str = "key UInt8, batches SimpleAggregateFunction(sum, UInt64), samples SimpleAggregateFunction(sum, UInt64), \
     counts SimpleAggregateFunction(sumMap, Map(String, UInt64))";

/// Stacks stand together within an hour or day, so that the hash that names one is stored once for many rows.
fn tables() -> Vec<Table> {
    let samples = |name, columns, family, arguments, partition: u64, order: String, kept, shard| Table {
        name,
        columns,
        family,
        arguments,
        partition: format!("intDiv(at, {partition})"),
        order,
        kept: Some(("at", kept)),
        shard,
    };
    let merged = |bucket: u64| format!("service, profile, intDiv(at, {bucket}), stack, at, version, sample_type");
    let hosts = || "service, profile, at, version, host".to_owned();
    let ledger = || "at, labels".to_owned();
    let (by_host, by_labels) = ("cityHash64(host)", "cityHash64(labels)");
    let (by_service, by_stack) = ("cityHash64(service, stack)", "cityHash64(service, id)");
    let words = |name, columns, shard| Table {
        name,
        columns,
        family: "Replacing",
        arguments: "",
        partition: "slot".to_owned(),
        order: "service, id".to_owned(),
        kept: Some(("toUInt64(slot) * 604800000000000", Kept::Words)),
        shard,
    };
    let per_series = |bucket: u64| format!("service, profile, intDiv(at, {bucket}), stack, at, series, sample_type");
    vec![
        samples("samples", SAMPLE, "", "", DAY, per_series(HOUR), Kept::Raw, by_host),
        samples("minutes", MERGED, "Summing", "value", WEEK, merged(HOUR), Kept::Minute, by_service),
        samples("hours", MERGED, "Summing", "value", 4 * WEEK, merged(DAY), Kept::Hour, by_service),
        samples("hour_series", SAMPLE, "Summing", "value", 4 * WEEK, per_series(DAY), Kept::Hour, by_host),
        samples("minute_hosts", HOSTS, "Replacing", "", WEEK, hosts(), Kept::Minute, by_host),
        samples("hour_hosts", HOSTS, "Replacing", "", 4 * WEEK, hosts(), Kept::Hour, by_host),
        samples("batches", BATCH, "", "", DAY, "agent, sequence".to_owned(), Kept::Raw, by_host),
        samples("ledgers", LEDGER, "", "", DAY, ledger(), Kept::Raw, by_labels),
        samples("ledger_minutes", LEDGER, "Aggregating", "", WEEK, ledger(), Kept::Minute, by_labels),
        samples("ledger_hours", LEDGER, "Aggregating", "", 4 * WEEK, ledger(), Kept::Hour, by_labels),
        words("series", SERIES, by_host),
        words("stacks", STACKS, by_stack),
        Table {
            name: "totals",
            columns: TOTALS,
            family: "Aggregating",
            arguments: "",
            partition: "tuple()".to_owned(),
            order: "key".to_owned(),
            kept: None,
            shard: "rand()",
        },
    ]
}

fn views() -> Vec<View> {
    let bucket = |width: u64| format!("intDiv(source.at, {width}) * {width} AS at");
    let merged = |to, width| View {
        to,
        from: "samples",
        select: format!(
            "{}, service, version, profile, sample_type, stack, any(source.stack_end) AS stack_end, sum(source.value) AS value",
            bucket(width)
        ),
        group: "service, version, profile, sample_type, stack, at",
    };
    let hosts = |to, width| View {
        to,
        from: "samples",
        select: format!("{}, service, version, profile, host", bucket(width)),
        group: "service, version, profile, host, at",
    };
    let ledgers = |to, at: String| View {
        to,
        from: "batches",
        select: format!(
            "{at}, labels, max(source.until) AS until, sumMap(source.counts) AS counts, \
             max((source.until, source.figures)) AS figures"
        ),
        group: "labels, at",
    };
    vec![
        merged("minutes", MINUTE),
        merged("hours", HOUR),
        View {
            to: "hour_series",
            from: "samples",
            select: format!(
                "{}, service, version, host, profile, sample_type, series, stack, any(source.stack_end) AS stack_end, \
                 sum(source.value) AS value",
                bucket(HOUR)
            ),
            group: "service, version, host, profile, sample_type, series, stack, at",
        },
        hosts("minute_hosts", MINUTE),
        hosts("hour_hosts", HOUR),
        ledgers("ledgers", "source.at AS at".to_owned()),
        ledgers("ledger_minutes", bucket(MINUTE)),
        ledgers("ledger_hours", bucket(HOUR)),
        View {
            to: "totals",
            from: "batches",
            select: "0 AS key, count() AS batches, sum(source.samples) AS samples, sumMap(source.counts) AS counts".to_owned(),
            group: "key",
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The statements for a cluster are as written down in `golden/cluster.sql`: no engine that the tests have can run them. Where
    /// they are changed on purpose, `FLAMEKEEPER_BLESS=1` writes them down anew.
    #[test]
    fn cluster_statements() {
        let ages = Ages { raw: 259_200, minute: 2_592_000, hour: 31_536_000 };
        let place = Place { database: "flamekeeper", cluster: Some("profiles") };
        let text = place.create(ages).into_iter().chain(place.keep(ages)).fold(String::new(), |text, line| text + &line + ";\n");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/clickhouse/golden/cluster.sql");
        if std::env::var_os("FLAMEKEEPER_BLESS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path).unwrap());
    }

    /// On one server nothing is replicated or distributed.
    #[test]
    fn single_statements() {
        let place = Place { database: "x", cluster: None };
        let text = place.create(Ages { raw: 60, minute: 60, hour: 60 }).join("\n");
        assert!(!text.contains("Replicated") && !text.contains("Distributed") && !text.contains("_local"), "{text}");
    }
}
