//! The configuration as a file.

use std::fmt;

use super::Config;

/// A basic string of TOML.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for letter in self.0.chars() {
            match letter {
                '"' | '\\' => write!(f, "\\{letter}")?,
                letter if letter.is_control() => write!(f, "\\U{:08X}", u32::from(letter))?,
                letter => write!(f, "{letter}")?,
            }
        }
        f.write_str("\"")
    }
}

fn list(values: &[String]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| Quoted(value).to_string()).collect();
    format!("[{}]", quoted.join(", "))
}

/// As TOML: a file of this content gives this configuration again.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "collector = {}", Quoted(self.collector.as_str()))?;
        let credentials = &self.credentials;
        let files = [
            ("token_file", &credentials.token_file),
            ("ca", &credentials.ca),
            ("client_cert", &credentials.client_cert),
            ("client_key", &credentials.client_key),
        ];
        for (key, path) in files.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?))) {
            writeln!(f, "{key} = {}", Quoted(&path.to_string_lossy()))?;
        }
        if let Some(name) = &self.host_name {
            writeln!(f, "host_name = {}", Quoted(name))?;
        }
        writeln!(f, "state_dir = {}", Quoted(&self.state_dir.to_string_lossy()))?;
        writeln!(f, "frequency_hz = {}", self.sampling.frequency)?;
        writeln!(f, "window = \"{}\"", self.sampling.window)?;
        writeln!(f, "event = \"{}\"", self.sampling.event.as_str())?;
        writeln!(f, "stack_bytes = \"{}\"", self.sampling.stack_bytes)?;
        if let Some(ring) = self.sampling.ring_bytes {
            writeln!(f, "ring_bytes = \"{ring}\"")?;
        }
        let process_labels: Vec<_> = self.process_labels.iter().map(ToString::to_string).collect();
        writeln!(f, "process_labels = {}", list(&process_labels))?;
        writeln!(f, "\n[spool]\ndir = {}", Quoted(&self.spool_dir().to_string_lossy()))?;
        writeln!(f, "max_bytes = \"{}\"", self.spool.max_bytes)?;
        writeln!(f, "\n[symbols]\nupload = {}", self.symbols.upload)?;
        writeln!(f, "max_object_bytes = \"{}\"", self.symbols.max_object_bytes)?;
        writeln!(f, "max_bytes_per_second = \"{}\"", self.symbols.max_bytes_per_second)?;
        writeln!(f, "\n[java]\nperf_map = {}", self.java.perf_map)?;
        writeln!(f, "\n[memory]\nlevels = {}\npage_faults = {}", self.memory.levels, self.memory.page_faults)?;
        writeln!(f, "\n[budget]")?;
        if let Some(cpu) = self.budget.cpu {
            writeln!(f, "cpu_percent = {cpu}")?;
        }
        writeln!(f, "horizon = \"{}\"\nmemory = \"{}\"", self.budget.horizon, self.budget.memory)?;
        if let Some(listen) = self.metrics.listen {
            writeln!(f, "\n[metrics]\nlisten = \"{listen}\"")?;
        }
        writeln!(f, "\n[exclude]\nprocesses = {}", list(&self.exclude.processes))?;
        writeln!(f, "units = {}", list(&self.exclude.units))?;
        writeln!(f, "slices = {}", list(&self.exclude.slices))?;
        let users: Vec<_> = self.exclude.users.iter().map(ToString::to_string).collect();
        writeln!(f, "users = {}\nenvironment = {}", list(&users), self.exclude.environment)?;
        writeln!(f, "\n[labels]")?;
        self.labels.iter().try_for_each(|(name, value)| writeln!(f, "{} = {}", Quoted(name), Quoted(value)))?;
        self.scrape.iter().try_for_each(|scrape| write!(f, "\n{scrape}"))
    }
}
