//! A host under test: the real collector and the real agent, apart, on a free port and in directories of the test.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::flamegraph::Flamegraph;
use crate::http;
use crate::programs::{self, Running, wait_for};
use crate::scratch::Scratch;

/// A collector and perhaps an agent. Dropping it kills both.
#[derive(Debug)]
pub struct Host {
    /// Where the collector listens.
    pub address: SocketAddr,
    /// The collector.
    pub collector: Running,
    /// The agent, once started.
    pub agent: Option<Running>,
    scratch: Scratch,
}

impl Host {
    /// Starts a collector on an empty directory, and waits until it takes writes.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn with_collector(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let address = programs::free_address();
        let collector = Self::start_collector(&scratch, address);
        Self { address, collector, agent: None, scratch }
    }

    /// Starts a collector and an agent that samples this host at `frequency` Hz in windows of 2 s, and waits until its first
    /// window is stored.
    ///
    /// # Panics
    /// When one of them does not start.
    #[must_use]
    pub fn start(name: &str, frequency: u32) -> Self {
        let mut host = Self::with_collector(name);
        host.start_agent(frequency);
        host
    }

    /// Starts the agent of a host that has none yet: see [`Self::start`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_agent(&mut self, frequency: u32) {
        let mut command = self.agent_command();
        command.args(["--frequency-hz", &frequency.to_string(), "--window", "2s", "--host-name", "test-host"]);
        self.agent = Some(Running::start("agent", &mut command));
        wait_for("the first batch", Duration::from_secs(30), || (self.status()["batches"].as_u64()? > 0).then_some(()));
    }

    /// The command that starts an agent for this collector, in the test's directory.
    #[must_use]
    pub fn agent_command(&self) -> Command {
        self.agent_command_for(self.address)
    }

    /// The same, for another collector.
    #[must_use]
    pub fn agent_command_for(&self, collector: SocketAddr) -> Command {
        let mut command = Command::new(programs::binary("flamekeeper-agent"));
        command.args(["--collector", &format!("http://{collector}")]);
        // A test's agent is built for debugging and must upload in seconds what it has minutes for elsewhere. The test of the
        // budget says what it may use by flags, which beat this.
        command.env("FLAMEKEEPER_BUDGET_CPU_PERCENT", "200");
        command.arg("--state-dir").arg(self.scratch.join("agent"));
        command
    }

    fn start_collector(scratch: &Scratch, address: SocketAddr) -> Running {
        let mut command = Command::new(programs::binary("flamekeeper"));
        command.args(["collector", "--listen", &address.to_string()]).arg("--data-dir").arg(scratch.join("collector"));
        // As for the agent: built for debugging, its conversions cannot stand back behind the test's load as well.
        command.env("FLAMEKEEPER_SYMBOLS_CONVERT_NICE", "0");
        let collector = Running::start("collector", &mut command);
        let healthy = || http::get(address, "/healthz").ok().filter(|answer| answer.status == 200);
        wait_for("the collector to be healthy", Duration::from_secs(20), healthy);
        collector
    }

    /// Starts the collector again, on the same address and directory.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart_collector(&mut self) {
        self.collector = Self::start_collector(&self.scratch, self.address);
    }

    /// Stops the agent, which ships what it has first.
    ///
    /// # Panics
    /// When it does not end well.
    pub fn stop_agent(&mut self) {
        if let Some(agent) = &mut self.agent {
            agent.stop();
        }
    }

    /// The test's directory.
    #[must_use]
    pub const fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The JSON answer of a path.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn ask(&self, path: &str) -> Value {
        let answer = http::get(self.address, path).and_then(|answer| answer.json());
        answer.unwrap_or_else(|error| panic!("{path}: {error:#}"))
    }

    /// `/api/v1/status`.
    #[must_use]
    pub fn status(&self) -> Value {
        self.ask("/api/v1/status")
    }

    /// The whole flamegraph (not pruned) of a service over the last hour.
    ///
    /// # Panics
    /// When the answer breaks its contract.
    #[must_use]
    pub fn flamegraph(&self, service: &str) -> Flamegraph {
        let query = http::encode(&format!("{{service=\"{service}\"}}"));
        let answer = self.ask(&format!("/api/v1/flamegraph?query={query}&from=-1h&min_share=0"));
        Flamegraph::read(&answer).unwrap_or_else(|error| panic!("flamegraph of {service}: {error:#}"))
    }
}
