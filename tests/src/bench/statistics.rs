//! Medians and percentiles; pure.

/// The value that a share of all does not exceed, by the nearest rank; nothing of nothing.
#[must_use]
pub fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    per_mille(values, percent * 10)
}

/// The same in thousandths.
#[must_use]
pub fn per_mille(values: &[f64], share: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * share).div_ceil(1_000);
    sorted.get(rank.max(1) - 1).copied()
}

/// The value in the middle.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    percentile(values, 50)
}

/// The least and the greatest.
#[must_use]
pub fn range(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    let most = values.iter().copied().max_by(f64::total_cmp)?;
    Some((least, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_value_at_the_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let cases: [(&[f64], usize, Option<f64>); 9] = [
            (&[], 50, None),
            (&[7.0], 50, Some(7.0)),
            (&[7.0], 99, Some(7.0)),
            (&[7.0], 0, Some(7.0)),
            (&[3.0, 1.0, 2.0], 50, Some(2.0)),
            (&[4.0, 3.0, 1.0, 2.0], 50, Some(2.0)),
            (&hundred, 50, Some(50.0)),
            (&hundred, 99, Some(99.0)),
            (&hundred, 100, Some(100.0)),
        ];
        for (values, percent, expected) in cases {
            assert_eq!(percentile(values, percent), expected, "{percent} % of {values:?}");
        }
    }

    #[test]
    fn a_thousandth_needs_a_thousand() {
        let thousand: Vec<f64> = (1..=1_000).map(f64::from).collect();
        assert_eq!(per_mille(&thousand, 999), Some(999.0));
        assert_eq!(per_mille(&thousand[..500], 999), Some(500.0));
    }

    #[test]
    fn a_range_is_from_the_least_to_the_greatest() {
        assert_eq!(range(&[]), None);
        assert_eq!(range(&[2.0, -1.0, 5.5]), Some((-1.0, 5.5)));
    }
}
