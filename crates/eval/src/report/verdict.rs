//! Whether training helped, in one sentence.

use crate::plots::tenths;
use crate::report::{Contender, Role};
use crate::{Estimate, Score, difference};

/// What training did to recall@1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Better than every baseline, by the whole interval.
    Helped,
    /// Some interval holds zero.
    NoMeasurableDifference,
    /// Worse than some baseline, by the whole interval.
    Hurt,
    /// There is no trained model, or no baseline that answered the same queries.
    Unknown,
}

/// The effect with the numbers behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What training did.
    pub effect: Effect,
    /// One sentence with every number and interval.
    pub sentence: String,
    /// A second sentence when comparing raw pixels is not clearly worse.
    pub warning: Option<String>,
}

/// Compares the trained model with the starter and the untrained one: recall@1, paired by query, 95 %
/// intervals over classes.
#[must_use]
pub fn verdict(contenders: &[Contender<'_>]) -> Verdict {
    let unknown = |why: &str| Verdict { effect: Effect::Unknown, sentence: why.to_owned(), warning: None };
    let Some(trained) = contenders.iter().find(|contender| contender.role == Role::Trained) else {
        return unknown("No trained model was measured.");
    };
    let gain = |role| -> Option<(&Contender<'_>, Estimate)> {
        let other = contenders.iter().find(|contender| contender.role == role)?;
        Some((other, difference(trained.retrieval, other.retrieval, Score::Recall(1)).ok()?))
    };
    let gains: Vec<_> = [Role::Starter, Role::Untrained].into_iter().filter_map(gain).collect();
    let Some(effect) = effect(&gains.iter().map(|(_, gain)| *gain).collect::<Vec<_>>()) else {
        return unknown("Whether training helped is not known: no baseline answered the same queries.");
    };
    let against: Vec<String> = gains.iter().map(|(other, gain)| against(other, *gain)).collect();
    let sentence = format!(
        "{}: the nearest picture is right for {} % of queries, {}.",
        match effect {
            Effect::Helped => "Training helped",
            Effect::Hurt => "Training hurt",
            Effect::NoMeasurableDifference | Effect::Unknown => "Training made no measurable difference",
        },
        tenths(first_right(trained)),
        against.join(" and ")
    );
    let warning = gain(Role::Pixels).filter(|(_, gain)| gain.low <= 0.0).map(|(other, gain)| {
        format!(
            "Comparing raw pixels does not do measurably worse, {}; this test may be too easy to tell \
             models apart.",
            against_words(other, gain)
        )
    });
    Verdict { effect, sentence, warning }
}

fn effect(gains: &[Estimate]) -> Option<Effect> {
    if gains.is_empty() {
        None
    } else if gains.iter().any(|gain| gain.high < 0.0) {
        Some(Effect::Hurt)
    } else if gains.iter().all(|gain| gain.low > 0.0) {
        Some(Effect::Helped)
    } else {
        Some(Effect::NoMeasurableDifference)
    }
}

fn against(other: &Contender<'_>, gain: Estimate) -> String {
    format!("against {}", against_words(other, gain))
}

fn against_words(other: &Contender<'_>, gain: Estimate) -> String {
    let name = match other.role {
        Role::Trained => "the trained model",
        Role::Starter => "the model it started from",
        Role::Untrained => "an untrained one",
        Role::Pixels => "raw pixels",
    };
    let signed = |share: f64| format!("{:+.1}", share * 100.0).replace('-', "\u{2212}");
    format!(
        "{} % for {name} ({} points, 95 % interval {} to {})",
        tenths(first_right(other)),
        signed(gain.value),
        signed(gain.low),
        signed(gain.high)
    )
}

fn first_right(contender: &Contender<'_>) -> f64 {
    let outcomes = &contender.retrieval.per_query;
    outcomes.iter().filter(|outcome| outcome.first_right == 1).count() as f64 / outcomes.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gain(value: f64, low: f64, high: f64) -> Estimate {
        Estimate { value, low, high }
    }

    #[test]
    fn every_baseline_must_be_beaten() {
        let (up, level, down) = (gain(0.2, 0.1, 0.3), gain(0.01, -0.1, 0.1), gain(-0.2, -0.3, -0.1));
        assert_eq!(effect(&[up, up]), Some(Effect::Helped));
        assert_eq!(effect(&[level, up]), Some(Effect::NoMeasurableDifference));
        assert_eq!(effect(&[up, down]), Some(Effect::Hurt));
        assert_eq!(effect(&[]), None);
        assert_eq!(effect(&[gain(0.0, 0.0, 0.0)]), Some(Effect::NoMeasurableDifference));
    }
}
