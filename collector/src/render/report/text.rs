//! A report as text for a terminal.

use std::fmt::Write as _;

use super::show::counted;
use super::{GateResult, Report, ReportFunction};

impl Report {
    /// As text, with at most so many functions of each kind.
    #[must_use]
    pub fn text(&self, gate: Option<&GateResult>, most: usize) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        _ = writeln!(text, "A  {}\nB  {}", self.side_text(&self.a), self.side_text(&self.b));
        if !self.why.is_empty() {
            _ = writeln!(text, "Chosen: {}.", self.why);
        }
        self.table(&mut text, "regression", &self.regressions, most);
        self.table(&mut text, "improvement", &self.improvements, most);
        if !self.moved.is_empty() {
            let names: Vec<String> = self.moved.iter().take(most).map(ReportFunction::title).collect();
            _ = writeln!(text, "\nMoved, and no change beyond chance:\n  {}", names.join("\n  "));
        }
        _ = writeln!(text, "\n{}", self.statement().join("\n"));
        if let Some(gate) = gate {
            _ = writeln!(text, "\nGate {}", gate.text);
            gate.failed.iter().for_each(|name| _ = writeln!(text, "  {name}"));
        }
        text
    }

    /// In a sentence: how many functions changed, and the first of them.
    #[must_use]
    pub fn headline(&self) -> String {
        let told = |kind: &str, functions: &[ReportFunction]| match functions.split_first() {
            None => format!("no {kind}s beyond chance"),
            Some((first, rest)) => {
                let first = format!("{} {} ({})", first.title(), first.relative_text(), first.relative_interval());
                let others = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
                format!("{}: {first}{others}", counted(functions.len(), kind))
            }
        };
        format!("{}; {}", told("regression", &self.regressions), told("improvement", &self.improvements))
    }

    fn table(&self, text: &mut String, kind: &str, functions: &[ReportFunction], most: usize) {
        if functions.is_empty() {
            _ = writeln!(text, "\nNo {kind}s beyond chance.");
            return;
        }
        _ = writeln!(text, "\n{}, in {}, with 95 % intervals", counted(functions.len(), kind), self.unit_text());
        let mut rows = vec![["CHANGE", "INTERVAL", "RELATIVE", "INTERVAL", "OF", "FUNCTION"].map(str::to_owned)];
        rows.extend(functions.iter().take(most).map(|function| {
            [
                self.signed(function.change),
                self.interval(function),
                function.relative_text(),
                function.relative_interval(),
                function.of.clone(),
                function.title(),
            ]
        }));
        let widths: [usize; 5] = std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
        for row in &rows {
            row.iter().zip(widths).for_each(|(cell, width)| _ = write!(text, "{cell:>width$}  "));
            _ = writeln!(text, "{}", row[5]);
        }
        if functions.len() > most {
            _ = writeln!(text, "and {} more", functions.len() - most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Gate, example};

    /// The text says what was compared, what changed by how much, and what could have been seen.
    #[test]
    fn tells_all() {
        let report = example::report();
        let gate = Gate { fail_above: 0.05, strict: false }.check(&report);
        let text = report.text(Some(&gate), 10);
        assert_eq!(report.headline(), "1 regression: grows<a|b> (api) +20.0 % (+9.00 % to +31.0 %); no improvements beyond chance");
        for part in [
            "A  {service=\"api\", version=\"1\"}, 2025-11-24 16:16:40Z to 2025-11-24 16:26:40Z, 3 hosts, 1800 s, 9000 samples, 0.500 cores\n",
            "Chosen: B begins 2 minutes after 2 was first seen.\n",
            "\n1 regression, in cores, with 95 % intervals\n",
            "+0.0200  +0.0100 to +0.0300   +20.0 %  +9.00 % to +31.0 %  self  grows<a|b> (api)\n",
            "No improvements beyond chance.\n",
            "  b (api), a before\n",
            "40 functions looked at, 1 beyond chance (false discovery rate 5 %); counts spread 1.25 times",
            "With these samples a change of 0.01 cores is seen.\nOne host.\n",
            "\nGate failed: of 1 function the whole 95 % interval lies above +5.00 %\n  grows<a|b> (api)\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }
}
