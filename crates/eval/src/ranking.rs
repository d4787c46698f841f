//! What one ranked answer list is worth.
//!
//! `right[i]`: whether the picture at place `i + 1` has the query's class; `relevant` (R): how many
//! pictures of that class the gallery holds. Source: Musgrave et al., "A metric learning reality
//! check", ECCV 2020 (mean average precision at R, R-precision).

/// Scores of one list at R, both in 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtR {
    /// `(1 / R) * sum over places i <= R of precision(i) * right(i)`.
    pub average_precision: f64,
    /// Share of the first R places that are right.
    pub precision: f64,
}

/// Scores the first `relevant` places of a list; places the list does not have count as wrong.
///
/// Returns `None` when nothing is relevant: such a query has no score and is left out of every mean.
#[must_use]
pub fn at_r(right: &[bool], relevant: usize) -> Option<AtR> {
    if relevant == 0 {
        return None;
    }
    let (mut hits, mut sum) = (0usize, 0.0);
    for (place, _) in right.iter().take(relevant).enumerate().filter(|(_, right)| **right) {
        hits += 1;
        sum += hits as f64 / (place + 1) as f64;
    }
    let relevant = relevant as f64;
    Some(AtR { average_precision: sum / relevant, precision: hits as f64 / relevant })
}

/// Average precision over a whole ranking: the mean, over the right answers, of the precision at each.
///
/// `places`: where the right answers stand, from 1, in order. `None` without any.
#[must_use]
pub fn average_precision(places: &[usize]) -> Option<f64> {
    let precisions = places.iter().enumerate().map(|(before, &place)| (before + 1) as f64 / place as f64);
    (!places.is_empty()).then(|| precisions.sum::<f64>() / places.len() as f64)
}

/// Average precision as the Matlab scripts of Oxford buildings, Market-1501 and MARS have it: the area
/// under the precision by trapezoids, so each right answer counts the mean of the precision at its place
/// and at the place before; before the first place it is 1.
///
/// `places` as in [`average_precision`]. Not comparable with it: `[wrong, right]` is 1/4 here, 1/2 there.
#[must_use]
pub fn trapezoid_precision(places: &[usize]) -> Option<f64> {
    let trapezoid = |(before, &place): (usize, &usize)| {
        let last = if place == 1 { 1.0 } else { before as f64 / (place - 1) as f64 };
        (last + (before + 1) as f64 / place as f64) / 2.0
    };
    let sum: f64 = places.iter().enumerate().map(trapezoid).sum();
    (!places.is_empty()).then(|| sum / places.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trapezoids_are_not_the_mean_of_precisions() {
        let near = |got: Option<f64>, want: f64| assert!((got.unwrap() - want).abs() < 1e-12, "{got:?}");
        near(average_precision(&[2]), 0.5);
        near(trapezoid_precision(&[2]), 0.25); // (0 + 1/2) / 2
        near(average_precision(&[1, 3]), 5.0 / 6.0); // (1 + 2/3) / 2
        near(trapezoid_precision(&[1, 3]), 19.0 / 24.0); // (1 + (1/2 + 2/3) / 2) / 2
        assert_eq!((average_precision(&[]), trapezoid_precision(&[])), (None, None));
    }

    #[test]
    fn right_wrong_right_by_hand() {
        let scores = at_r(&[true, false, true], 3).unwrap();
        // precision at the right places: 1/1 and 2/3; (1 + 2/3) / 3 = 5/9; 2 of 3 places are right
        assert!((scores.average_precision - 5.0 / 9.0).abs() < 1e-12);
        assert!((scores.precision - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn places_after_r_do_not_count() {
        let scores = at_r(&[false, true, true, true], 2).unwrap();
        assert_eq!(scores, AtR { average_precision: 0.25, precision: 0.5 }); // (1/2) * (1/2)
    }

    #[test]
    fn a_short_list_misses_its_tail() {
        assert_eq!(at_r(&[true], 4).unwrap(), AtR { average_precision: 0.25, precision: 0.25 });
    }

    #[test]
    fn nothing_relevant_has_no_score() {
        assert_eq!(at_r(&[false, false], 0), None);
    }
}
