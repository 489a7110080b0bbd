//! How much more counts spread between hosts and chunks of time than samples alone would.
//!
//! Two spreads are looked at, each as Pearson's chi-square over its degrees of freedom (1 for a Poisson process):
//!
//! - *chunks*: of cells about the mean of their host on their side;
//! - *hosts*, where a side has two or more: where both sides have the same hosts, about the best fit in which every host changed by the
//!   same factor (a host that is busier than others on both sides is no spread); else about the mean of their side.
//!
//! A spread between hosts grows with the count: one host that does 10 % more has 10 % more of everything. So what is pooled over
//! functions of about the same size is the relative variance beyond Poisson, and a function's own spread is drawn towards what that
//! predicts, the more the fewer cells there are (as in Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004). The greater of the two spreads
//! counts, and at least 1.

use std::collections::BTreeMap;

use super::{Cell, Side};

/// A function's spread: variance of its counts over that of a Poisson process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dispersion {
    /// At least 1.
    pub factor: f64,
    /// Degrees of freedom that it rests on, for Student's t.
    pub freedom: f64,
}

/// Degrees of freedom that stand for a normal distribution: where no spread can be seen, samples alone are known.
const MANY: f64 = 1e6;
/// Bounds on what the other functions count for, in degrees of freedom.
const PRIOR: (f64, f64) = (3.0, 30.0);
/// A function whose cells hold fewer samples on average says little about spreads.
const LEAST_MEAN: f64 = 2.0;

/// What chi-square says of one function.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    chi_square: f64,
    /// Mean expected count of a group.
    mean: f64,
}

/// Groups of cells whose spread is looked at.
struct Level {
    freedom: f64,
    spreads: Vec<Spread>,
}

/// The spread of each function, from its counts in each cell.
#[must_use]
pub fn dispersion(cells: &[Cell], counts: &[&[f64]]) -> Vec<Dispersion> {
    let levels = [chunks(cells, counts), hosts(cells, counts)];
    let mut found = vec![Dispersion { factor: 1.0, freedom: MANY }; counts.len()];
    for level in levels.into_iter().flatten() {
        for (known, new) in found.iter_mut().zip(level.shrunk()) {
            // With equal factors, the one that rests on less.
            if new.factor > known.factor || (known.freedom - MANY).abs() < 0.5 {
                *known = new;
            }
        }
    }
    found
}

impl Level {
    fn shrunk(&self) -> Vec<Dispersion> {
        let told: Vec<&Spread> = self.spreads.iter().filter(|spread| spread.mean >= LEAST_MEAN).collect();
        let trend = Trend::of(&told, self.freedom);
        let ratios: Vec<f64> = told.iter().map(|spread| spread.chi_square / self.freedom / trend.expected(spread.mean)).collect();
        let prior = prior_freedom(&ratios, self.freedom);
        let freedom = self.freedom + prior;
        let shrink = |spread: &Spread| {
            let expected = trend.expected(spread.mean);
            let own = spread.chi_square / expected;
            Dispersion { factor: (expected * (own + prior) / freedom).max(1.0), freedom }
        };
        self.spreads.iter().map(shrink).collect()
    }
}

/// The relative variance beyond Poisson of functions of about the same size. Rare functions (interrupts, the scheduler) spread by far more
/// than those that do a program's work; pooled with these they would hide what these do.
struct Trend {
    /// Ascending.
    means: Vec<f64>,
    /// Sums of what is beyond Poisson, and of what a relative variance of 1 would add, of all functions before each place.
    sums: Vec<(f64, f64)>,
}

/// Functions whose mean differs by no more than this factor are of about the same size.
const ALIKE: f64 = 4.0;
/// Functions that the spread of one size is taken from at least, where there are so many.
const LEAST_ALIKE: usize = 20;

impl Trend {
    fn of(told: &[&Spread], freedom: f64) -> Self {
        let mut ordered = told.to_vec();
        ordered.sort_by(|a, b| a.mean.total_cmp(&b.mean));
        let mut sums = vec![(0.0, 0.0)];
        let mut sum = (0.0, 0.0);
        for spread in &ordered {
            sum = (sum.0 + spread.chi_square - freedom, spread.mean.mul_add(freedom, sum.1));
            sums.push(sum);
        }
        Self { means: ordered.into_iter().map(|spread| spread.mean).collect(), sums }
    }

    /// Variance over that of a Poisson process which functions of this size have.
    fn expected(&self, mean: f64) -> f64 {
        let mut first = self.means.partition_point(|other| *other < mean / ALIKE);
        let mut end = self.means.partition_point(|other| *other <= mean * ALIKE);
        let least = LEAST_ALIKE.min(self.means.len());
        while end - first < least {
            // The nearer one in size next.
            let below = first.checked_sub(1).map(|place| mean / self.means[place].max(1e-9));
            let above = self.means.get(end).map(|other| other / mean.max(1e-9));
            match (below, above) {
                (Some(below), Some(above)) if below > above => end += 1,
                (Some(_), _) => first -= 1,
                (None, _) => end += 1,
            }
        }
        let ((beyond_first, weight_first), (beyond_end, weight_end)) = (self.sums[first], self.sums[end]);
        let (beyond, weight) = (beyond_end - beyond_first, weight_end - weight_first);
        let relative = if weight > 0.0 { (beyond / weight).max(0.0) } else { 0.0 };
        relative.mul_add(mean, 1.0)
    }
}

/// How alike the functions' spreads are beyond what chance makes of them, as degrees of freedom of the distribution that they come
/// from: by the variance of `F(freedom, prior)`.
fn prior_freedom(ratios: &[f64], freedom: f64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // Functions are far fewer than 2^53.
    let n = ratios.len() as f64;
    if n < 4.0 {
        return PRIOR.0;
    }
    let mean = ratios.iter().sum::<f64>() / n;
    let variance = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let excess = freedom * variance / mean.powi(2).max(1e-9) - 2.0;
    let prior = if excess > 0.0 { (4.0 * (excess + 2.0) + 2.0 * freedom - 4.0) / excess } else { PRIOR.1 };
    prior.clamp(PRIOR.0, PRIOR.1)
}

/// Places of `cells` by side and host.
fn groups(cells: &[Cell]) -> BTreeMap<(Side, u32), Vec<usize>> {
    let mut groups: BTreeMap<(Side, u32), Vec<usize>> = BTreeMap::new();
    for (place, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.exposure > 0.0) {
        groups.entry((cell.side, cell.host)).or_default().push(place);
    }
    groups
}

fn chunks(cells: &[Cell], counts: &[&[f64]]) -> Option<Level> {
    let groups = groups(cells);
    let used: usize = groups.values().map(Vec::len).sum();
    let freedom = count(used) - count(groups.len());
    let spread = |counts: &&[f64]| {
        let mut spread = Spread::default();
        for members in groups.values() {
            let of = |place: usize| counts.get(place).copied().unwrap_or_default();
            let rate = sum(members, of) / sum(members, |place| cells[place].exposure);
            spread.add(members.iter().map(|place| (of(*place), rate * cells[*place].exposure)));
        }
        spread.over(used)
    };
    (freedom >= 1.0).then(|| Level { freedom, spreads: counts.iter().map(spread).collect() })
}

fn hosts(cells: &[Cell], counts: &[&[f64]]) -> Option<Level> {
    let groups: Vec<((Side, u32), Vec<usize>)> = groups(cells).into_iter().collect();
    let exposures: Vec<f64> = groups.iter().map(|(_, members)| sum(members, |place| cells[place].exposure)).collect();
    let on = |side: Side| groups.iter().filter(move |((of, _), _)| *of == side).map(|((_, host), _)| *host);
    let (a, b): (Vec<u32>, Vec<u32>) = (on(Side::A).collect(), on(Side::B).collect());
    let paired = a == b;
    let freedom = if paired { count(a.len()) - 1.0 } else { count(a.len().saturating_sub(1) + b.len().saturating_sub(1)) };
    let spread = |counts: &&[f64]| {
        let seen: Vec<f64> =
            groups.iter().map(|(_, members)| sum(members, |place| counts.get(place).copied().unwrap_or_default())).collect();
        let keys: Vec<(Side, u32)> = groups.iter().map(|(key, _)| *key).collect();
        let expected = if paired { same_change(&keys, &seen, &exposures) } else { same_rate(&keys, &seen, &exposures) };
        let mut spread = Spread::default();
        spread.add(seen.into_iter().zip(expected));
        spread.over(groups.len())
    };
    (freedom >= 1.0).then(|| Level { freedom, spreads: counts.iter().map(spread).collect() })
}

/// What is expected where all hosts of a side are alike.
fn same_rate(keys: &[(Side, u32)], seen: &[f64], exposures: &[f64]) -> Vec<f64> {
    let rate = |side: Side| {
        let on = keys.iter().zip(seen.iter().zip(exposures)).filter(|(key, _)| key.0 == side);
        let (seen, exposure) = on.fold((0.0, 0.0), |sum, (_, (seen, exposure))| (sum.0 + seen, sum.1 + exposure));
        if exposure > 0.0 { seen / exposure } else { 0.0 }
    };
    let (a, b) = (rate(Side::A), rate(Side::B));
    keys.iter().zip(exposures).map(|(key, exposure)| exposure * if key.0 == Side::A { a } else { b }).collect()
}

/// What is expected where each host has a rate of its own, and all changed by one factor. `keys` are those of A, then those of B, the
/// same hosts. The fit by turns converges fast: exposures of the two sides are nearly proportional.
fn same_change(keys: &[(Side, u32)], seen: &[f64], exposures: &[f64]) -> Vec<f64> {
    let hosts = keys.len() / 2;
    let (seen_b, all) = (seen[hosts..].iter().sum::<f64>(), seen.iter().sum::<f64>());
    let mut share = if all > 0.0 { seen_b / all } else { 0.5 };
    let factor_of = |share: f64| share / (1.0 - share).max(1e-12);
    let (total_a, total_b) = (exposures[..hosts].iter().sum::<f64>(), exposures[hosts..].iter().sum::<f64>());
    let mut factor = factor_of(share) * total_a / total_b.max(1e-12);
    for _ in 0..20 {
        let expected_b: f64 = (0..hosts).map(|host| host_rate(host, hosts, seen, exposures, factor) * exposures[hosts + host]).sum();
        if expected_b <= 0.0 {
            break;
        }
        share = seen_b / expected_b;
        factor = share;
    }
    (0..keys.len())
        .map(|place| {
            let rate = host_rate(place % hosts, hosts, seen, exposures, factor);
            rate * exposures[place] * if place < hosts { 1.0 } else { factor }
        })
        .collect()
}

fn host_rate(host: usize, hosts: usize, seen: &[f64], exposures: &[f64], factor: f64) -> f64 {
    let exposure = factor.mul_add(exposures[hosts + host], exposures[host]);
    if exposure > 0.0 { (seen[host] + seen[hosts + host]) / exposure } else { 0.0 }
}

impl Spread {
    fn add(&mut self, seen_and_expected: impl Iterator<Item = (f64, f64)>) {
        for (seen, expected) in seen_and_expected.filter(|(_, expected)| *expected > 0.0) {
            self.chi_square += (seen - expected).powi(2) / expected;
            self.mean += expected;
        }
    }

    fn over(mut self, groups: usize) -> Self {
        self.mean /= count(groups).max(1.0);
        self
    }
}

fn sum(places: &[usize], of: impl Fn(usize) -> f64) -> f64 {
    places.iter().map(|place| of(*place)).sum()
}

#[allow(clippy::cast_precision_loss)] // Cells and hosts are few.
const fn count(len: usize) -> f64 {
    len as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(hosts: u32, chunks: u32) -> Vec<Cell> {
        let on = |side| (0..hosts).flat_map(move |host| (0..chunks).map(move |_| Cell { side, host, exposure: 10.0 }));
        on(Side::A).chain(on(Side::B)).collect()
    }

    /// Without spread the factor is 1; hosts that differ on both sides alike are no spread, hosts that change differently are.
    #[test]
    fn hosts_that_change_differently_spread() {
        let cells = cells(3, 1);
        let alike = dispersion(&cells, &[&[100.0, 200.0, 400.0, 110.0, 220.0, 440.0]]);
        assert!((alike[0].factor - 1.0).abs() < 1e-9, "{alike:?}");
        let apart = dispersion(&cells, &[&[100.0, 200.0, 400.0, 150.0, 100.0, 440.0]]);
        assert!(apart[0].factor > 5.0, "{apart:?}");
    }

    /// Rare functions that differ wildly from host to host widen nothing for those that do the work and hardly differ.
    #[test]
    fn rare_functions_hide_nothing() {
        let cells = cells(4, 1);
        let calm: Vec<Vec<f64>> =
            (0..24_u32).map(|n| (0..8).map(|cell| f64::from(1000 + 40 * n + (n * 7 + cell * 13) % 30)).collect()).collect();
        let wild: Vec<Vec<f64>> = (0..60_u32).map(|n| (0..8).map(|cell| f64::from((n + cell * cell) % 5 * 8)).collect()).collect();
        let all: Vec<&[f64]> = calm.iter().chain(&wild).map(Vec::as_slice).collect();
        let found = dispersion(&cells, &all);
        assert!(found[..24].iter().all(|spread| spread.factor < 1.5), "{found:?}");
        assert!(found[24..].iter().all(|spread| spread.factor > 5.0), "{found:?}");
    }

    /// One cell a side shows no spread: samples alone count.
    #[test]
    fn one_cell_is_poisson() {
        assert_eq!(dispersion(&cells(1, 1), &[&[100.0, 300.0]]), [Dispersion { factor: 1.0, freedom: MANY }]);
        assert!(dispersion(&[], &[&[]])[0].factor >= 1.0);
    }

    /// Chunks that differ on one host spread, and the more freedom the more chunks.
    #[test]
    fn chunks_spread() {
        let found = dispersion(&cells(1, 3), &[&[10.0, 100.0, 190.0, 90.0, 110.0, 100.0]]);
        assert!(found[0].factor > 10.0 && found[0].freedom < 10.0, "{found:?}");
    }
}
