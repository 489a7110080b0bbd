//! Live progress: one line that is written over on a terminal, a plain line now and then elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often a plain line is written where standard error is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Writes progress to standard error.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    terminal: bool,
    last_plain: Instant,
    on_screen: bool,
}

impl ProgressLine {
    /// Nothing is written yet.
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last_plain: Instant::now(), on_screen: false }
    }

    /// Shows a text in place of the last one.
    pub(crate) fn show(&mut self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        if self.terminal {
            // CSI 2K erases the line (ECMA-48). A terminal that went away is no reason to stop.
            _ = write!(stderr, "\r\x1b[2K{text}");
            _ = stderr.flush();
            self.on_screen = true;
        } else if self.last_plain.elapsed() >= PLAIN_EVERY {
            _ = writeln!(stderr, "{text}");
            self.last_plain = Instant::now();
        }
    }

    /// Leaves the last text as it is, and goes to the next line.
    pub(crate) fn finish(&mut self) {
        if std::mem::take(&mut self.on_screen) {
            eprintln!();
        }
    }
}

/// Turns totals into rates.
#[derive(Debug)]
pub(crate) struct Rate {
    at: Instant,
    total: f64,
}

impl Rate {
    /// Starts counting from this total.
    pub(crate) fn new(total: f64) -> Self {
        Self { at: Instant::now(), total }
    }

    /// Change per second since the last call.
    pub(crate) fn per_second(&mut self, total: f64) -> f64 {
        let seconds = self.at.elapsed().as_secs_f64().max(1e-3);
        let rate = (total - self.total) / seconds;
        *self = Self::new(total);
        rate
    }
}
