//! Rows of text in columns.

/// A line for each row: each column as wide as its widest cell, the first `right` of them to the right.
pub(crate) fn text<const N: usize>(rows: &[[String; N]], right: usize) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells: Vec<String> = (row.iter().zip(widths).enumerate())
            .map(|(column, (cell, width))| if column < right { format!("{cell:>width$}") } else { format!("{cell:<width$}") })
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
