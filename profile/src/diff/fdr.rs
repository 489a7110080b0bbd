//! The false discovery rate over many tests.

/// Benjamini and Hochberg's adjusted p-values (J. R. Statist. Soc. B 57, 1995), in the order given: those at most 0.05 are flagged
/// when 5 % of what is flagged may be chance.
#[must_use]
pub fn adjusted(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
    let mut q = vec![1.0; p.len()];
    let mut least: f64 = 1.0;
    for (place, index) in order.into_iter().enumerate() {
        #[allow(clippy::cast_precision_loss)] // Tests are far fewer than 2^53.
        let (tests, rank) = (p.len() as f64, (p.len() - place) as f64);
        least = least.min(p[index] * tests / rank);
        q[index] = least;
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the procedure: each p times tests over rank, never rising towards smaller p.
    #[test]
    fn adjusts() {
        let q = adjusted(&[0.01, 0.5, 0.02, 0.03]);
        let expected = [0.04, 0.5, 0.04, 0.04];
        assert!(q.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{q:?}");
        assert!(adjusted(&[]).is_empty());
    }
}
