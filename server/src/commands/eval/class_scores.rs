//! Answers of a classifier, from the scores of its classes.
//!
//! Used by both kinds of classifiers: on the kernels, and on the trained network.

use model::config::Architecture;
use model::training::Example;

use super::answer::{Answer, Outcome};
use super::error::EvalError;
use super::rows::RowObjective;
use crate::evaluation::{Likelihood, WantedToken};

/// Checks that rows are labelled: classifiers answer no others.
pub fn check_classifier(architecture: Architecture, objective: RowObjective) -> Result<(), EvalError> {
    match objective {
        _ if !architecture.classifies() => Err(EvalError::WrongObjective {
            architecture,
            objective: objective.name(),
            instead: "has no classification head, and writes no text: nothing of it can be measured",
        }),
        RowObjective::Classify => Ok(()),
        _ => Err(EvalError::WrongObjective {
            architecture,
            objective: objective.name(),
            instead: "reads rows of input and label",
        }),
    }
}

/// The label with the highest score (of equal ones the first), and the likelihood of the right one.
pub fn answer(example: &Example, scores: &[f32], labels: &[String]) -> Outcome {
    let Example::Labelled { label: class, .. } = example else {
        unreachable!("a model with classes is asked for labels")
    };
    let class = *class as usize;
    if !scores.iter().all(|score| score.is_finite()) {
        return Err("its scores are not finite".to_owned());
    }
    let best = (0..scores.len()).fold(0, |best, other| if scores[other] > scores[best] { other } else { best });
    let largest = f64::from(scores[best]);
    let sum: f64 = scores.iter().map(|score| (f64::from(*score) - largest).exp()).sum();
    let mut likelihood = Likelihood::default();
    likelihood.add(WantedToken { log_prob: f64::from(scores[class]) - largest - sum.ln(), is_hit: best == class });
    Ok(Answer { written: Some(labels[best].clone()), likelihood: Some(likelihood) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_class_is_the_answer_and_the_right_ones_probability_the_loss() {
        let labels = ["a", "b", "c"].map(str::to_owned);
        let scores = [1.0, 1.0 + 2.0_f32.ln(), 1.0];
        let of_class = |label| Example::Labelled { source: vec![2], label };
        for (class, probability) in [0.25, 0.5, 0.25_f64].into_iter().enumerate() {
            let Answer { written, likelihood } = answer(&of_class(class as u32), &scores, &labels).unwrap();
            let likelihood = likelihood.unwrap();
            assert_eq!((written.as_deref(), likelihood.hits, likelihood.tokens), (Some("b"), u64::from(class == 1), 1));
            assert!((likelihood.surprise + probability.ln()).abs() < 1e-6);
        }
        assert_eq!(answer(&of_class(2), &[0.0; 3], &labels).unwrap().written.as_deref(), Some("a"));
        assert!(answer(&of_class(0), &[0.0, f32::NAN, 0.0], &labels).is_err());
    }
}
