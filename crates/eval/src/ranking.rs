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

#[cfg(test)]
mod tests {
    use super::*;

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
