//! Samples this host, a process or a command, and prints a summary of each window: `sample_host [SECONDS [HZ [PID | COMMAND...]]]`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use flamekeeper_agent::engine::{Engine, EngineConfig, Target};
use flamekeeper_agent::identity::{Identity, IdentityConfig};
use flamekeeper_agent::stop::StopFlag;
use flamekeeper_profile::{Batch, Series, StackEnd, StackId, label};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds: u64 = arguments.first().map_or(Ok(10), |text| text.parse())?;
    let frequency: u32 = arguments.get(1).map_or(Ok(99), |text| text.parse())?;
    let target = match arguments.get(2) {
        None => Target::Host,
        Some(text) => match text.parse() {
            Ok(pid) => Target::Process(pid),
            Err(_) => Target::Command { program: text.into(), arguments: arguments.iter().skip(3).map(Into::into).collect() },
        },
    };
    let identity = Identity::new(IdentityConfig::default());
    let config = EngineConfig { frequency, target, window: Duration::from_secs(10), ..EngineConfig::default() };
    let mut engine = Engine::open(config, identity)?;
    let stats = engine.stats();
    let stop = StopFlag::new()?;
    let alarm = stop.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(seconds));
        alarm.raise();
    });
    let mut out = std::io::stdout().lock();
    let cpu = cpu_time();
    let mut result = Ok(());
    engine.run(&stop, &mut |batch| result = summary(&mut out, &batch))?;
    result?;
    let used = cpu_time() - cpu;
    writeln!(out, "{stats:?}")?;
    writeln!(out, "own cpu {used:?} = {:.3} % of a core; {}", used.as_secs_f64() / seconds as f64 * 100.0, anonymous())?;
    Ok(())
}

fn summary(out: &mut impl std::io::Write, batch: &Batch) -> std::io::Result<()> {
    writeln!(out, "{:?}: {} taken, losses {:?}", batch.window, batch.ledger.taken, batch.ledger.losses().collect::<Vec<_>>())?;
    let mut series: Vec<&Series> = batch.series.iter().collect();
    series.sort_by_key(|series| std::cmp::Reverse(series.total()));
    for series in series.iter().take(12) {
        let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
        for (stack, count) in &series.values {
            *ends.entry(batch.tables.stack(*stack).map_or("?", |stack| stack.end.as_str())).or_default() += count;
        }
        let labels = &series.labels;
        writeln!(
            out,
            "{:6} {} [{}] {}: {ends:?}",
            series.total(),
            labels.get(label::SERVICE),
            labels.get(label::PID),
            labels.get(label::EXE)
        )?;
        let truncated =
            series.values.iter().filter(|(stack, _)| batch.tables.stack(*stack).is_some_and(|stack| stack.end != StackEnd::Root));
        if let Some((stack, count)) = truncated.max_by_key(|(_, count)| count) {
            let (end, depth) = batch.tables.stack(*stack).map_or(("?", 0), |stack| (stack.end.as_str(), stack.locations.len()));
            writeln!(out, "         {end} at depth {depth}, {count}: {}", stack_text(batch, *stack, true))?;
        }
        let heaviest = series.values.iter().max_by_key(|(_, count)| count);
        if let Some((stack, count)) = heaviest {
            writeln!(out, "         {count}: {}", stack_text(batch, *stack, false))?;
        }
    }
    Ok(())
}

/// Fourteen frames of a stack, leaf first: the leaf side or the root side.
fn stack_text(batch: &Batch, stack: StackId, root_side: bool) -> String {
    const SHOWN: usize = 14;
    let Some(stack) = batch.tables.stack(stack) else { return String::new() };
    let skipped = if root_side { stack.locations.len().saturating_sub(SHOWN) } else { 0 };
    let frames = stack.locations.iter().skip(skipped).filter_map(|location| batch.tables.location(*location)).map(|location| {
        let module = location.object.and_then(|object| batch.tables.object(object)).map_or("?", |object| batch.tables.string(object.path));
        match location.lines.first() {
            Some(line) => batch.tables.string(line.function).to_owned(),
            None => format!("{}+{}", module.rsplit('/').next().unwrap_or_default(), location.address),
        }
    });
    frames.take(SHOWN).collect::<Vec<_>>().join(" < ")
}

fn cpu_time() -> Duration {
    let stat = procfs::process::Process::myself().and_then(|process| process.schedstat());
    Duration::from_nanos(stat.map_or(0, |stat| stat.sum_exec_runtime))
}

fn anonymous() -> String {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("Anonymous") || line.starts_with("Rss")).collect::<Vec<_>>().join(", ")
}
