//! A report as Markdown, for a pull request.

use std::fmt::Write as _;

use super::show::counted;
use super::{GateResult, Outcome, Report, ReportFunction};

impl Report {
    /// As Markdown (tables as GitHub and GitLab draw them), with at most so many functions of each kind.
    #[must_use]
    pub fn markdown(&self, gate: Option<&GateResult>, most: usize) -> String {
        let mut text = String::new();
        if let Some(gate) = gate {
            let mark = match gate.outcome {
                Outcome::Passed => "**Gate passed**",
                Outcome::Failed => "**Gate failed**",
                Outcome::Unanswered => "**Gate without an answer**",
            };
            // Writing to a String cannot fail.
            _ = writeln!(text, "{mark}: {}\n", escaped(gate.text.split_once(": ").map_or(&gate.text, |(_, text)| text)));
        }
        for (name, side) in [("A", &self.a), ("B", &self.b)] {
            _ = writeln!(text, "- {name}: {}", escaped(&self.side_text(side)));
        }
        if !self.why.is_empty() {
            _ = writeln!(text, "- Chosen: {}.", escaped(&self.why));
        }
        self.markdown_table(&mut text, "regression", &self.regressions, most);
        self.markdown_table(&mut text, "improvement", &self.improvements, most);
        if !self.moved.is_empty() {
            let names: Vec<String> = self.moved.iter().take(most).map(|function| escaped(&function.title())).collect();
            _ = writeln!(text, "\n#### Moved, and no change beyond chance\n\n- {}", names.join("\n- "));
        }
        let statement: Vec<String> = self.statement().iter().map(|line| escaped(line)).collect();
        _ = writeln!(text, "\n{}", statement.join("\n"));
        text
    }

    fn markdown_table(&self, text: &mut String, kind: &str, functions: &[ReportFunction], most: usize) {
        if functions.is_empty() {
            _ = writeln!(text, "\nNo {kind}s beyond chance.");
            return;
        }
        let unit = self.unit_text();
        _ = writeln!(text, "\n#### {}\n", counted(functions.len(), kind));
        _ = writeln!(text, "| function | of | change, {unit} | 95 % interval | relative | 95 % interval |\n|---|---|--:|--:|--:|--:|");
        for function in functions.iter().take(most) {
            let (change, interval) = (self.signed(function.change), self.interval(function));
            let (relative, relative_interval) = (function.relative_text(), function.relative_interval());
            let title = escaped(&function.title());
            _ = writeln!(text, "| {title} | {} | {change} | {interval} | {relative} | {relative_interval} |", escaped(&function.of));
        }
        if functions.len() > most {
            _ = writeln!(text, "\nand {} more", functions.len() - most);
        }
    }
}

/// Text in which nothing is markup: a function's name may hold anything.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '~' | '#' | '!' | '$' | '@' => out.extend(['\\', character]),
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Gate, example};

    /// Every row has six cells, and names are no markup.
    #[test]
    fn tables_hold() {
        let report = example::report();
        let gate = Gate { fail_above: 0.05, strict: false }.check(&report);
        let text = report.markdown(Some(&gate), 10);
        assert!(text.starts_with("**Gate failed**: of 1 function the whole"), "{text}");
        let row = text.lines().find(|line| line.contains("grows")).unwrap();
        assert_eq!(row, "| grows&lt;a\\|b&gt; (api) | self | +0.0200 | +0.0100 to +0.0300 | +20.0 % | +9.00 % to +31.0 % |");
        assert!(
            text.contains("\n#### 1 regression\n")
                && text.contains("No improvements beyond chance.")
                && text.contains("- b (api), a before")
        );
    }
}
