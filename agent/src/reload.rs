//! The agent from its start to its end: one run of the service after the other, each with the configuration of its moment.
//!
//! SIGHUP reads the configuration again, flags and environment as they were. A configuration that is wrong, or the same, changes
//! nothing. Another one ends the run, with the window that was begun in the spool, and begins the next in the same process:
//! whatever a key says holds from then on. For the fraction of a second between the two nothing is sampled. Where the new run
//! does not start (an address is taken, a directory cannot be written), the agent goes back to the configuration before.
//! SIGTERM and SIGINT end the agent.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Args, Config, ConfigError};
use crate::notify;
use crate::progress::Progress;
use crate::service::{self, Turn};
use crate::stop::StopFlag;

/// Runs the agent until a signal ends it. `args` are what a SIGHUP reads again.
///
/// # Errors
/// As [`service::run`]: for the configuration that the agent was started with.
pub fn run(args: &Args, config: Config) -> Result<()> {
    let control = Control::new(config.clone()).context("the stop flag could not be made")?;
    watch_signals(control.clone(), args.clone())?;
    run_controlled(config, &control, &|config, stop, turn| service::serve(config, stop, Arc::<Progress>::default(), turn))
}

/// One run of the service; a test has another.
type Serve<'a> = &'a dyn Fn(Config, StopFlag, &Turn<'_>) -> Result<()>;

fn run_controlled(mut config: Config, control: &Control, serve: Serve<'_>) -> Result<()> {
    let mut before: Option<Config> = None;
    loop {
        let stop = control.begin(&config).context("the stop flag could not be made")?;
        let ready = Cell::new(false);
        let turn = Turn { ready: &|| ready.set(true), another: &|| control.is_another_wanted() };
        let ran = serve(config.clone(), stop, &turn);
        if let Some(next) = control.next() {
            if let Err(error) = &ran {
                tracing::error!(error = format!("{error:#}"), "the agent ended badly before it took its new configuration");
            }
            before = Some(std::mem::replace(&mut config, next));
            continue;
        }
        match (ran, before.take()) {
            (Err(error), Some(working)) if !ready.get() && !control.has_ended() => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the new configuration does not work here; the agent goes on with that before"
                );
                config = working;
            }
            (ran, _) => return ran,
        }
    }
}

/// What signals say to the loop of runs. Clones share it.
#[derive(Clone, Debug)]
struct Control(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What the present run has.
    config: Config,
    /// Ends the present run.
    stop: StopFlag,
    /// What the next one gets.
    next: Option<Config>,
    ended: bool,
}

impl Control {
    fn new(config: Config) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(State { config, stop: StopFlag::new()?, next: None, ended: false }))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment: a thread that failed between two left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The flag of a run that begins.
    fn begin(&self, config: &Config) -> io::Result<StopFlag> {
        let stop = StopFlag::new()?;
        let mut state = self.state();
        state.stop = stop.clone();
        state.config = config.clone();
        if state.ended || state.next.is_some() {
            stop.raise();
        }
        Ok(stop)
    }

    fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.next = None;
        state.stop.raise();
    }

    /// Takes what was read, where it is another configuration than that of the present run.
    fn reload(&self, read: Result<Config, ConfigError>) {
        let config = match read {
            Ok(config) => config,
            Err(error) => return tracing::error!(%error, "the configuration was not taken; the agent goes on with the one that it has"),
        };
        let mut state = self.state();
        if state.ended {
            return;
        }
        if state.config == config && state.next.is_none() {
            return tracing::info!("the configuration is as it was");
        }
        tracing::info!("the configuration has changed; sampling begins anew");
        // sd_notify(3): until READY=1, which the next run sends.
        notify::send(&format!("RELOADING=1\nMONOTONIC_USEC={}", crate::perf::clock::monotonic() / 1000));
        state.next = Some(config);
        state.stop.raise();
    }

    fn next(&self) -> Option<Config> {
        self.state().next.take()
    }

    fn is_another_wanted(&self) -> bool {
        self.state().next.is_some()
    }

    fn has_ended(&self) -> bool {
        self.state().ended
    }
}

struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

/// Hears SIGHUP, SIGTERM and SIGINT in a thread of its own, from here on.
fn watch_signals(control: Control, args: Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime for signals")?;
    let entered = runtime.enter();
    let catch = |kind, name| signal(kind).with_context(|| format!("{name} cannot be caught"));
    let mut signals = Signals {
        term: catch(SignalKind::terminate(), "SIGTERM")?,
        int: catch(SignalKind::interrupt(), "SIGINT")?,
        hup: catch(SignalKind::hangup(), "SIGHUP")?,
    };
    drop(entered);
    let listen = async move {
        loop {
            tokio::select! {
                _ = signals.term.recv() => break,
                _ = signals.int.recv() => break,
                _ = signals.hup.recv() => control.reload(args.load()),
            }
        }
        control.end();
        tokio::select! { _ = signals.term.recv() => {}, _ = signals.int.recv() => {} }
    };
    let thread = std::thread::Builder::new().name("fk-signals".into());
    let body = move || {
        runtime.block_on(listen);
        // 128 + SIGINT, as a shell tells it. This is the one way out that does not lead over main: it is asked for twice.
        #[allow(clippy::exit)]
        std::process::exit(130);
    };
    thread.spawn(body).context("no thread for signals")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use anyhow::bail;

    use super::*;

    fn at(hertz: &str) -> Config {
        let mut config = Config::default();
        config.sampling.frequency = hertz.parse().unwrap();
        config
    }

    /// What the service does in one run.
    type Step<'a> = &'a dyn Fn(&Control, &StopFlag, &Turn<'_>) -> Result<()>;

    /// Runs with a service that does in its n-th run what the n-th step says, and gives the frequencies of the runs.
    fn runs(steps: &[Step<'_>]) -> (Vec<u32>, Result<()>) {
        let control = Control::new(at("19")).unwrap();
        let seen = RefCell::new(Vec::new());
        let result = run_controlled(at("19"), &control, &|config, stop, turn| {
            let step = seen.borrow().len();
            seen.borrow_mut().push(config.sampling.frequency.hertz());
            steps[step](&control, &stop, turn)
        });
        (seen.into_inner(), result)
    }

    /// Another configuration ends the run and begins one with it, which knows that another follows; the same one, and a wrong one,
    /// change nothing; the end is the end.
    #[test]
    fn another_configuration_is_taken() {
        let (seen, result) = runs(&[
            &|control, stop, turn| {
                (turn.ready)();
                control.reload(Ok(at("19")));
                control.reload(Err(ConfigError::Conflict { origin: "x".into(), message: "y".into() }));
                assert!(!stop.is_raised() && !(turn.another)());
                control.reload(Ok(at("49")));
                assert!(stop.is_raised() && (turn.another)());
                Ok(())
            },
            &|control, stop, turn| {
                assert!(!stop.is_raised() && !(turn.another)());
                control.reload(Ok(at("99")));
                control.end();
                control.reload(Ok(at("19")));
                assert!(stop.is_raised() && !(turn.another)());
                Ok(())
            },
        ]);
        assert_eq!(seen, [19, 49]);
        result.unwrap();
    }

    /// A configuration that cannot start makes way for the one before; one that cannot go on ends the agent.
    #[test]
    fn what_does_not_start_is_left() {
        let change = |control: &Control, _: &StopFlag, turn: &Turn<'_>| {
            (turn.ready)();
            control.reload(Ok(at("49")));
            Ok(())
        };
        let (seen, result) = runs(&[&change, &|_, _, _| bail!("taken"), &|control, _, _| {
            control.end();
            Ok(())
        }]);
        assert_eq!(seen, [19, 49, 19]);
        result.unwrap();
        let (seen, result) = runs(&[&change, &|_, _, turn| {
            (turn.ready)();
            bail!("broken")
        }]);
        assert_eq!((seen, result.unwrap_err().to_string()), (vec![19, 49], "broken".to_owned()));
        let (seen, result) = runs(&[&|_, _, _| bail!("no")]);
        assert!(seen == [19] && result.is_err());
    }
}
