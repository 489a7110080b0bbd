//! All functions of a diff.
//!
//! A function is tested by its self value and by its total; its p-value is twice the smaller of both, and its interval is that of the one
//! with the smaller p-value. The false discovery rate is held over functions. A function with fewer than [`LEAST_SAMPLES`] samples on
//! both sides together cannot pass and is not tested, which spares the others the correction.

use super::dispersion::{Dispersion, dispersion};
use super::estimate::{Estimate, Exposures, Quantiles, SideCounts, estimate};
use super::fdr::adjusted;
use super::{Cell, Side};

/// Samples on both sides together below which a function is not tested.
const LEAST_SAMPLES: f64 = 8.0;
/// The false discovery rate.
const FDR: f64 = 0.05;

/// Samples of a function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionCounts {
    /// Samples whose leaf it is.
    pub own: SideCounts,
    /// Samples that it stands in.
    pub total: SideCounts,
    /// Samples whose leaf it is, in each cell.
    pub own_cells: Vec<f64>,
    /// Samples that it stands in, in each cell.
    pub total_cells: Vec<f64>,
}

/// What of a function is spoken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Its own code.
    Own,
    /// It and what it calls.
    Total,
}

/// What is said of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes more in B.
    Grew,
    /// It takes less in B.
    Shrank,
    /// It is in B only, beyond chance.
    New,
    /// It is in A only, beyond chance.
    Gone,
    /// Chance explains the change, or there are too few samples to tell.
    Chance,
}

/// A function's change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// What the estimate is of.
    pub measure: Measure,
    /// The change with its interval, in samples per unit of exposure.
    pub estimate: Estimate,
    /// The adjusted p-value; none where it was not tested.
    pub q: Option<f64>,
    /// What is said of it.
    pub verdict: Verdict,
    /// The change of this function alone that would be flagged 80 times of 100, in samples per unit of exposure.
    pub seen: f64,
}

/// What is said of the diff as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Median of the spreads of the functions that were tested: variance of counts over that of a Poisson process.
    pub dispersion: f64,
    /// The false discovery rate that is held.
    pub fdr: f64,
    /// Functions whose change is beyond chance.
    pub flagged: usize,
    /// Functions that were tested.
    pub tested: usize,
}

impl Statistics {
    /// Where nothing was tested.
    pub const NONE: Self = Self { dispersion: 1.0, fdr: FDR, flagged: 0, tested: 0 };
}

/// The changes of all functions, in their order.
#[must_use]
pub fn changes(cells: &[Cell], exposures: Exposures, functions: &[FunctionCounts]) -> (Vec<Change>, Statistics) {
    let own = spreads(cells, functions, |function| &function.own_cells);
    let total = spreads(cells, functions, |function| &function.total_cells);
    let mut quantiles = Quantiles::new(0.025);
    let mut changes: Vec<Change> = functions
        .iter()
        .zip(own.iter().zip(&total))
        .map(|(function, (own, total))| change(function, exposures, [*own, *total], &mut quantiles))
        .collect();
    let tested: Vec<usize> = (0..functions.len()).filter(|place| enough(&functions[*place])).collect();
    let p: Vec<f64> = tested.iter().map(|place| changes[*place].estimate.p).collect();
    for (place, q) in tested.iter().zip(adjusted(&p)) {
        changes[*place].q = Some(q);
        if q <= FDR {
            changes[*place].verdict = verdict(&functions[*place], changes[*place].estimate.change);
        }
    }
    // A function that changes alone has to pass at 5 % over all that are tested, on either side, by one of two measures.
    #[allow(clippy::cast_precision_loss)] // Functions are far fewer than 2^53.
    let (mut flagged, mut four_of_five) = (Quantiles::new(FDR / 4.0 / tested.len().max(1) as f64), Quantiles::new(0.2));
    for (place, change) in changes.iter_mut().enumerate() {
        let (counts, spread) = match change.measure {
            Measure::Own => (functions[place].own, own[place]),
            Measure::Total => (functions[place].total, total[place]),
        };
        let rate = (counts.a / exposures.a + counts.b / exposures.b) / 2.0;
        let deviations = flagged.of(spread.freedom) + four_of_five.of(spread.freedom);
        change.seen = visible(change.estimate.deviation.powi(2), spread.factor, rate, deviations);
    }
    let mut factors: Vec<f64> = tested.iter().map(|place| own[*place].factor).collect();
    factors.sort_by(f64::total_cmp);
    let statistics = Statistics {
        dispersion: factors.get(factors.len() / 2).copied().unwrap_or(1.0),
        fdr: FDR,
        flagged: changes.iter().filter(|change| change.verdict != Verdict::Chance).count(),
        tested: tested.len(),
    };
    (changes, statistics)
}

fn spreads(cells: &[Cell], functions: &[FunctionCounts], of: fn(&FunctionCounts) -> &Vec<f64>) -> Vec<Dispersion> {
    let counts: Vec<&[f64]> = functions.iter().map(|function| of(function).as_slice()).collect();
    dispersion(cells, &counts)
}

fn enough(function: &FunctionCounts) -> bool {
    function.total.a.max(function.own.a) + function.total.b.max(function.own.b) >= LEAST_SAMPLES
}

fn change(function: &FunctionCounts, exposures: Exposures, [own, total]: [Dispersion; 2], quantiles: &mut Quantiles) -> Change {
    let mut of = |measure, counts, spread| {
        let estimate = estimate(counts, exposures, spread, quantiles);
        Change { measure, estimate, q: None, verdict: Verdict::Chance, seen: f64::INFINITY }
    };
    let own = of(Measure::Own, function.own, own);
    let total = of(Measure::Total, function.total, total);
    // A leaf's self is its total, and is one question then, not two.
    if function.own == function.total {
        return own;
    }
    let none_of_its_own = function.own.a + function.own.b <= 0.0;
    let mut chosen = if !none_of_its_own && own.estimate.p <= total.estimate.p { own } else { total };
    if !none_of_its_own {
        chosen.estimate.p = (2.0 * chosen.estimate.p).min(1.0);
    }
    chosen
}

/// The change that is so many standard deviations. A greater change has a greater variance: the Poisson part of it grows with the sum of
/// both rates, the rest with its square. Infinite where no change is great enough.
fn visible(variance: f64, factor: f64, rate: f64, deviations: f64) -> f64 {
    let (poisson, beyond) = (variance / factor, variance - variance / factor);
    let square = deviations.powi(2);
    // In units of the sum of both rates.
    let sum = 2.0 * rate;
    let (a, b, c) = (sum.mul_add(sum, -square * beyond), square * 2.0f64.mul_add(beyond, poisson), square * variance);
    if a > 0.0 { sum * (b + (b * b + 4.0 * a * c).sqrt()) / (2.0 * a) } else { f64::INFINITY }
}

fn verdict(function: &FunctionCounts, change: f64) -> Verdict {
    match change > 0.0 {
        true if function.total.a <= 0.0 => Verdict::New,
        true => Verdict::Grew,
        false if function.total.b <= 0.0 => Verdict::Gone,
        false => Verdict::Shrank,
    }
}

impl Side {
    /// Both, A first.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> Vec<Cell> {
        Side::BOTH.into_iter().flat_map(|side| (0..4).map(move |host| Cell { side, host, exposure: 60.0 })).collect()
    }

    fn function(a: f64, b: f64) -> FunctionCounts {
        let cells: Vec<f64> = [a / 4.0; 4].into_iter().chain([b / 4.0; 4]).collect();
        let counts = SideCounts { a, b };
        FunctionCounts { own: counts, total: counts, own_cells: cells.clone(), total_cells: cells }
    }

    /// A great change is told among many functions that did not change, and vanished and new ones are called so.
    #[test]
    fn great_changes_are_told() {
        let mut functions = vec![function(100.0, 104.0); 50];
        functions.extend([function(100.0, 200.0), function(100.0, 20.0), function(0.0, 60.0), function(60.0, 0.0), function(0.0, 3.0)]);
        let (changes, statistics) = changes(&cells(), Exposures { a: 240.0, b: 240.0 }, &functions);
        let last: Vec<Verdict> = changes[50..].iter().map(|change| change.verdict).collect();
        assert_eq!(last, [Verdict::Grew, Verdict::Shrank, Verdict::New, Verdict::Gone, Verdict::Chance]);
        assert!(changes[..50].iter().all(|change| change.verdict == Verdict::Chance));
        assert_eq!((statistics.flagged, statistics.tested, changes[54].q), (4, 54, None));
    }
}
