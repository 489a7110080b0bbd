//! `flamekeeper diff`: what changed between two profiles, and whether a deploy may go on.

mod ask;
mod files;
mod percent;

use std::num::NonZeroU64;
use std::process::ExitCode;

use anyhow::{Result, bail};
use flamekeeper_collector::files::FileOptions;
use flamekeeper_collector::query::Generics;
use flamekeeper_collector::query::diff::Normalization;
use flamekeeper_collector::render::{Gate, GateResult, Outcome, Report};
use serde::Serialize;

use crate::api::Collector;
use crate::output;

const ABOUT: &str = "\
Compares what a service did before and after a deploy: which functions take more or less, each with a 95 % confidence interval that takes
account of sampling error and of how much hosts and times differ. What chance explains is not told; the false discovery rate over all
functions is held at 5 %.

With --service alone it compares the newest deploy with what was before it, in windows that the collector chooses: of one length, after
the warm-up, at the same time of day where there is history. Values are CPU cores on each host.

Files are compared without a collector. They have no hosts and no times: with one file a side the intervals hold sampling error only; with
several, the spread between them too.";

const EXAMPLES: &str = "\
Examples:
  flamekeeper diff --service api                                    the newest deploy with what was before
  flamekeeper diff --service api --from-version 1.4 --to-version 1.5 --fail-above 5%
  flamekeeper diff --service api --from-a -25h --to-a -24h --from-b -1h --to-b now
  flamekeeper diff --selector-a '{host=\"web-1\"}' --selector-b '{host=\"web-2\"}' --from -1h
  flamekeeper diff --service api --from-a -2h --to-a -1h --from-b -1h --requests-a 120000 --requests-b 180000
  flamekeeper diff --service api --by requests                      what one request takes, by what was posted (flamekeeper requests)
  flamekeeper diff --service api --output markdown > report.md
  flamekeeper diff before.pb.gz after.pb.gz                         two files, pprof or folded text
  flamekeeper diff a1.pb.gz a2.pb.gz a3.pb.gz -- b1.pb.gz b2.pb.gz b3.pb.gz

Exit codes:
  0  answered, and nothing fails
  1  --fail-above: a function's whole 95 % interval lies above the limit
  2  could not be answered: no samples, no such deploy, no collector, wrong arguments";

/// Arguments of `flamekeeper diff`.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: files::Files,
    #[command(flatten)]
    question: ask::Question,
    #[command(flatten)]
    collector: Collector,
    /// Profile type [default: cpu; of files what they show first]
    #[arg(long = "type", value_name = "TYPE")]
    profile_type: Option<String>,
    /// What values are divided by: seconds of hosts (cores), all of a side (share), nothing (samples), or the requests that were posted for
    /// both sides (requests) [default: cores; of files that do not say how long they were sampled, share]
    #[arg(long, value_enum, conflicts_with = "requests_a")]
    by: Option<By>,
    /// Requests that the side before served in its window: values are then what one request takes. The counts are taken as exact
    #[arg(long, value_name = "COUNT", requires = "requests_b")]
    requests_a: Option<NonZeroU64>,
    /// Requests that the side after served
    #[arg(long, value_name = "COUNT", requires = "requests_a")]
    requests_b: Option<NonZeroU64>,
    /// Make one function of those that differ by their type arguments alone: `Vec<_>::push`
    #[arg(long)]
    fold_generics: bool,
    /// How the report is written
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = Output::Text)]
    output: Output,
    /// Functions of each kind that text and Markdown name; 0 for all
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 30)]
    limit: usize,
    /// Exit with 1 where a function grew by more: the lower end of its 95 % interval is above this part of what it took in A. A function
    /// that is new is held against everything that A takes
    #[arg(long, value_name = "PERCENT", value_parser = percent::parse)]
    fail_above: Option<f64>,
    /// Exit with 2 where the samples are too few to see such a growth in a function that takes 5 % of A
    #[arg(long, requires = "fail_above")]
    strict: bool,
}

/// What values are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// Seconds of hosts
    Cores,
    /// Everything of the side
    Share,
    /// Nothing
    Samples,
    /// Requests that were posted
    Requests,
}

impl By {
    /// None for what only a collector knows.
    const fn normalization(self) -> Option<Normalization> {
        match self {
            Self::Cores => Some(Normalization::Cores),
            Self::Share => Some(Normalization::Share),
            Self::Samples => Some(Normalization::Samples),
            Self::Requests => None,
        }
    }
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For a terminal
    Text,
    /// For programs, with all functions
    Json,
    /// For a pull request
    Markdown,
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    report: &'a Report,
    gate: Option<&'a GateResult>,
}

/// Asks, prints, and answers the exit code.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match answer(arguments) {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(1),
        Ok(Outcome::Unanswered) => ExitCode::from(2),
        Err(error) => {
            eprintln!("flamekeeper: {}", crate::chain(&error));
            ExitCode::from(2)
        }
    }
}

fn report(arguments: &Arguments) -> Result<Report> {
    let Arguments { files, question, collector, profile_type, requests_a, requests_b, fold_generics, .. } = arguments;
    let requests = requests_a.zip(*requests_b).map(|(a, b)| Normalization::Requests([a, b]));
    let posted = arguments.by == Some(By::Requests);
    let by = arguments.by.and_then(By::normalization).or(requests);
    let generics = if *fold_generics { Generics::Folded } else { Generics::Kept };
    let Some(sides) = files.sides()? else {
        return question.report(
            collector,
            profile_type.as_deref().unwrap_or("cpu"),
            by.or((!posted).then_some(Normalization::Cores)),
            generics,
        );
    };
    if !question.is_empty() {
        bail!("files have no services, versions, windows or labels: name files, or ask a collector");
    }
    if posted {
        bail!("no requests are posted for files: give the counts (--requests-a, --requests-b)");
    }
    files.report(sides, FileOptions { profile_type: profile_type.clone(), by, sample_weight: None, generics })
}

fn answer(arguments: &Arguments) -> Result<Outcome> {
    let report = report(arguments)?;
    // Without a limit the gate is of use still: it says whether there is an answer.
    let asked = Gate { fail_above: arguments.fail_above.unwrap_or(f64::INFINITY), strict: arguments.strict };
    let result = asked.check(&report);
    let gate = Some(&result).filter(|result| arguments.fail_above.is_some() || result.outcome == Outcome::Unanswered);
    let most = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    let text = match arguments.output {
        Output::Text => report.text(gate, most),
        Output::Markdown => report.markdown(gate, most),
        Output::Json => {
            let gate = gate.filter(|_| arguments.fail_above.is_some());
            format!("{}\n", serde_json::to_string_pretty(&Told { report: &report, gate })?)
        }
    };
    output::print(text.as_bytes())?;
    Ok(result.outcome)
}
