//! An encoder that classifies: asked in ragged batches, straight through the kernels.
//!
//! What it writes is the name of the most probable class.

use std::path::Path;
use std::sync::Arc;

use kernels::cpu::Cpu;
use model::training::Example;
use model::training::objective::{ModelTokens, Reader};
use model::{Classifier, ClassifierSpace, Tokenizer};

use super::error::EvalError;
use super::question::Question;
use super::rows::RowObjective;
use super::subject::{Answer, Ask, Outcome, Reading, Subject};
use crate::commands::error::CommandError;
use crate::config::Config;
use crate::evaluation::Likelihood;
use crate::loading::load_classifier;

/// A classifier with its working memory.
pub struct Classified {
    classifier: Classifier<Cpu>,
    space: ClassifierSpace<Cpu>,
    tokenizer: Arc<Tokenizer>,
    source_tokens: usize,
    /// Source tokens of a batch, unless one source has more.
    batch_tokens: usize,
    /// Sources of a batch.
    batch_sources: usize,
}

impl Classified {
    /// Loads the checkpoint; batches have the sizes that serving gives the encoder.
    pub fn load(config: &Config, folder: &Path) -> Result<Self, CommandError> {
        let (classifier, tokenizer) = load_classifier(config, folder)?;
        let tokenizer = Arc::new(tokenizer.ok_or(CommandError::NoTokenizer)?);
        let source_tokens = classifier.config().encoder.max_positions;
        let batch_tokens = config.limits.step_encoder_tokens as usize;
        let batch_sources = config.limits.running_rows as usize;
        let space = classifier.space(source_tokens.max(batch_tokens), batch_sources)?;
        Ok(Self { classifier, space, tokenizer, source_tokens, batch_tokens, batch_sources })
    }

    fn answer_batch(
        &mut self,
        batch: &mut Vec<Question>,
        take: &mut dyn FnMut(usize, Outcome) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let sources: Vec<&[u32]> = batch.iter().map(Question::source).collect();
        let scores = self.classifier.scores(&sources, &mut self.space);
        for (question, scores) in batch.drain(..).zip(scores) {
            take(question.index, answer(&question.example, &scores, &self.classifier.config().labels))?;
        }
        Ok(())
    }
}

impl Subject for Classified {
    fn architecture(&self) -> &'static str {
        "encoder classifier"
    }

    fn arithmetic(&self) -> String {
        self.classifier.arithmetic().to_string()
    }

    fn check(&self, objective: RowObjective) -> Result<(), EvalError> {
        check_classifier(self.architecture(), objective)
    }

    fn reading(&self) -> Reading {
        let vocab = self.classifier.config().encoder.vocab;
        Reading {
            tokenizer: Arc::clone(&self.tokenizer),
            labels: Some(self.classifier.config().labels.clone()),
            reader: Reader::EncoderDecoder,
            // A classifier writes nothing: only its vocabulary matters.
            tokens: ModelTokens { start: 0, end: vec![0], source_vocab: vocab, target_vocab: vocab },
            source_tokens: self.source_tokens,
            target_tokens: 1,
            text_tokens: 1,
        }
    }

    fn answer(
        &mut self,
        questions: &mut dyn Iterator<Item = Result<Question, CommandError>>,
        _: Ask,
        take: &mut dyn FnMut(usize, Outcome) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let mut batch: Vec<Question> = Vec::new();
        let mut tokens = 0;
        for question in questions {
            let question = question?;
            let is_full = batch.len() == self.batch_sources || tokens + question.source().len() > self.batch_tokens;
            if is_full && !batch.is_empty() {
                self.answer_batch(&mut batch, take)?;
                tokens = 0;
            }
            tokens += question.source().len();
            batch.push(question);
        }
        self.answer_batch(&mut batch, take)
    }

    fn end(self: Box<Self>) {}
}

/// Classifiers answer labelled rows only.
pub fn check_classifier(architecture: &'static str, objective: RowObjective) -> Result<(), EvalError> {
    match objective {
        RowObjective::Classify => Ok(()),
        _ => Err(EvalError::WrongObjective {
            architecture,
            objective: objective.name(),
            instead: "reads rows of input and label",
        }),
    }
}

/// What a classifier's scores say: the best label (of equal ones the first), and the probability of the right one.
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
    likelihood.add(f64::from(scores[class]) - largest - sum.ln(), best == class);
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
