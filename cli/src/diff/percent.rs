//! A percentage as an argument.

/// `5%`, `5 %` or `5` as 0.05.
pub(super) fn parse(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.trim().trim_end_matches('%').trim_end().parse().ok();
    let fits = number.filter(|number| (0.0..=100_000.0).contains(number));
    fits.map(|number| number / 100.0).ok_or_else(|| "a percentage from 0 to 100000, such as 5%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// With the sign and without it; nothing that is no number.
    #[test]
    fn percentages() {
        assert_eq!((parse("5%"), parse("0.5 %"), parse("200")), (Ok(0.05), Ok(0.005), Ok(2.0)));
        for wrong in ["", "%", "-1%", "nan", "inf", "five"] {
            assert!(parse(wrong).unwrap_err().contains("such as 5%"), "{wrong}");
        }
    }
}
