//! What is evaluated: something that answers questions of token ids, whatever it is made of.
//!
//! Opened by `eval`. Each kind of checkpoint has a file of its own.

use std::sync::Arc;

use model::Tokenizer;
use model::checkpoint::CheckpointKind;
use model::training::objective::{ModelTokens, Reader};

use super::classified::Classified;
use super::error::EvalError;
use super::question::Question;
use super::rows::RowObjective;
use super::served::Served;
use super::trained::Trained;
use crate::commands::error::CommandError;
use crate::config::{Config, Device, ModelSource};
use crate::evaluation::Likelihood;
use crate::loading::LoadError;

/// A checkpoint that can be evaluated.
pub trait Subject {
    /// What it is, in a few words.
    fn architecture(&self) -> &'static str;

    /// How it computes.
    fn arithmetic(&self) -> String;

    /// Whether it can answer such rows.
    fn check(&self, objective: RowObjective) -> Result<(), EvalError>;

    /// How texts become its questions.
    fn reading(&self) -> Reading;

    /// Answers all questions and hands each outcome out with its row's number, in the rows' order.
    fn answer(
        &mut self,
        questions: &mut dyn Iterator<Item = Result<Question, CommandError>>,
        ask: Ask,
        take: &mut dyn FnMut(usize, Outcome) -> Result<(), CommandError>,
    ) -> Result<(), CommandError>;

    /// Gives back what it holds.
    fn end(self: Box<Self>);
}

/// What is wanted of every question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The target's log-probabilities.
    pub scores: bool,
    /// A text of its own, of at most so many tokens; a classifier's is the label.
    pub max_tokens: Option<u32>,
}

/// An answer to one question.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// What it wrote.
    pub written: Option<String>,
    /// How probable the target was.
    pub likelihood: Option<Likelihood>,
}

/// An answer, or why the model has none to this question, as a sentence.
pub type Outcome = Result<Answer, String>;

impl Answer {
    /// The answer, if its scores are numbers that can be counted.
    pub fn counted(self) -> Outcome {
        let is_finite = self.likelihood.is_none_or(|likelihood| likelihood.surprise.is_finite());
        if is_finite { Ok(self) } else { Err("its scores are not finite".to_owned()) }
    }
}

/// What a subject reads.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Text to ids.
    pub tokenizer: Arc<Tokenizer>,
    /// Names of its classes, where it is a classifier.
    pub labels: Option<Vec<String>>,
    /// Who reads a source.
    pub reader: Reader,
    /// Ids with a meaning of their own, and the vocabularies.
    pub tokens: ModelTokens,
    /// Tokens of a source, at most.
    pub source_tokens: usize,
    /// Tokens of a target, its end token counted, at most.
    pub target_tokens: usize,
    /// Tokens of a text, at most.
    pub text_tokens: usize,
}

/// Loads the checkpoint, as what it is.
pub fn open(config: &Config) -> Result<Box<dyn Subject>, CommandError> {
    let ModelSource::Checkpoint(folder) = &config.model.source else { return Ok(Box::new(Served::start(config)?)) };
    let kind = CheckpointKind::of(folder)?;
    if kind != CheckpointKind::EncoderDecoder && config.model.device == Device::Cuda {
        return Err(LoadError::OnlyProcessor { origin: folder.display().to_string() }.into());
    }
    Ok(match kind {
        CheckpointKind::EncoderDecoder => Box::new(Served::start(config)?),
        CheckpointKind::EncoderClassifier => Box::new(Classified::load(config, folder)?),
        CheckpointKind::Trained => Box::new(Trained::open(config, folder)?),
    })
}
