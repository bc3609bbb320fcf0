//! An encoder classifier, run on the kernels in ragged batches.
//!
//! Its answer is the name of the most probable class.

use std::path::Path;
use std::sync::Arc;

use kernels::cpu::Cpu;
use model::config::Architecture;
use model::training::objective::{ModelTokens, Reader};
use model::{EncoderModel, EncoderSpace, Readout, Tokenizer};

use super::answer::{Ask, Outcome};
use super::class_scores::{answer, check_classifier};
use super::error::EvalError;
use super::input_spec::InputSpec;
use super::question::Question;
use super::rows::RowObjective;
use super::subject::Subject;
use crate::commands::error::CommandError;
use crate::config::Config;
use crate::loading::load_encoder_on_processor;

/// A classifier with its working memory.
pub struct Classified {
    classifier: EncoderModel<Cpu>,
    space: EncoderSpace<Cpu>,
    tokenizer: Arc<Tokenizer>,
    source_tokens: usize,
    /// Most source tokens of a batch, unless a single source has more.
    batch_tokens: usize,
    /// Most sources of a batch.
    batch_sources: usize,
}

impl Classified {
    /// Loads the checkpoint; batches have the sizes that serving gives the encoder.
    pub fn load(config: &Config, folder: &Path) -> Result<Self, CommandError> {
        let (classifier, tokenizer) = load_encoder_on_processor(config, folder)?;
        let tokenizer = tokenizer.ok_or(CommandError::NoTokenizer)?;
        let source_tokens = classifier.config().encoder.max_positions;
        let batch_tokens = config.limits.step_encoder_tokens as usize;
        let batch_sources = config.limits.running_rows as usize;
        let space = classifier.space([source_tokens.max(batch_tokens), 0])?;
        Ok(Self { classifier, space, tokenizer, source_tokens, batch_tokens, batch_sources })
    }

    fn answer_batch(
        &mut self,
        batch: &mut Vec<Question>,
        take: &mut dyn FnMut(usize, Outcome) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let sources: Vec<&[u32]> = batch.iter().map(Question::source).collect();
        let scores = self.classifier.read_batch(&sources, Readout::Classes, &mut self.space);
        for (question, scores) in batch.drain(..).zip(scores) {
            take(question.index, answer(&question.example, &scores, &self.classifier.config().labels))?;
        }
        Ok(())
    }
}

impl Subject for Classified {
    fn architecture(&self) -> Architecture {
        self.classifier.config().architecture()
    }

    fn arithmetic(&self) -> String {
        self.classifier.arithmetic().to_string()
    }

    fn check(&self, objective: RowObjective) -> Result<(), EvalError> {
        check_classifier(self.architecture(), objective)
    }

    fn input_spec(&self) -> InputSpec {
        let vocab = self.classifier.config().encoder.vocab;
        InputSpec {
            tokenizer: Arc::clone(&self.tokenizer),
            labels: Some(self.classifier.config().labels.clone()),
            reader: Reader::EncoderDecoder,
            // A classifier has no targets: only its vocabulary matters.
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
