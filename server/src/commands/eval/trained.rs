//! Checkpoints that only the training network runs: decoder-only Gemma 2, decoder-only classifiers, and models with a
//! causal encoder.
//!
//! For baselines and ablations: in float32, without a cache of keys and values.

use std::path::Path;
use std::sync::Arc;

use model::Tokenizer;
use model::config::{Architecture, Stacks};
use model::training::network::{Network, NetworkOptions};
use model::training::objective::{ModelTokens, Reader};
use model::training::{Batch, Example};
use rayon::ThreadPool;

use super::answer::{Answer, Ask, Outcome};
use super::class_scores::{self, check_classifier};
use super::error::EvalError;
use super::input_spec::{InputSpec, text_tokens};
use super::question::Question;
use super::rows::RowObjective;
use super::subject::Subject;
use crate::commands::error::CommandError;
use crate::config::{Config, Limits, Quantize};
use crate::evaluation::Likelihood;
use crate::loading::tokenizer_beside;

/// Questions that are answered together, so that the largest products take many rows at once.
const GROUP_QUESTIONS: usize = 32;

/// A network and the threads it runs on.
pub struct Trained {
    network: Network,
    tokenizer: Arc<Tokenizer>,
    limits: Limits,
    threads: ThreadPool,
}

impl Trained {
    /// Opens the checkpoint.
    pub fn open(config: &Config, folder: &Path) -> Result<Self, CommandError> {
        if matches!(config.model.quantize, Quantize::To(_)) {
            return Err(EvalError::Quantized.into());
        }
        let count = config.model.threads;
        let threads = rayon::ThreadPoolBuilder::new().num_threads(count).build();
        let threads = threads.map_err(|error| EvalError::Threads { threads: count, reason: error.to_string() })?;
        let network = Network::open(folder, &NetworkOptions::default()).map_err(EvalError::from)?;
        let tokenizer = tokenizer_beside(&config.model, folder, network.vocab())?.ok_or(CommandError::NoTokenizer)?;
        Ok(Self { network, tokenizer, limits: config.limits, threads })
    }

    /// Answers to a group of questions, in their order.
    fn answers(&self, group: Vec<Question>, ask: Ask) -> Result<Vec<(usize, Outcome)>, CommandError> {
        let sources: Vec<&[u32]> = group.iter().map(Question::source).collect();
        if self.network.architecture().classifies() {
            let (labels, scores) =
                (self.network.labels(), self.network.class_scores(&sources).map_err(EvalError::from)?);
            let answer = |(question, scores): (&Question, Vec<f32>)| {
                (question.index, class_scores::answer(&question.example, &scores, &labels))
            };
            return Ok(group.iter().zip(scores).map(answer).collect());
        }
        let written = ask.max_tokens.map(|max_tokens| self.network.generate(&sources, max_tokens as usize));
        let written = written.transpose().map_err(EvalError::from)?;
        let mut written = written.into_iter().flatten().map(|ids| self.tokenizer.decode(&ids));
        let mut answers = Vec::with_capacity(group.len());
        for Question { index, example } in group {
            let likelihood = ask.scores.then(|| self.likelihood(example)).transpose()?;
            answers.push((index, Ok(Answer { written: written.next(), likelihood })));
        }
        Ok(answers)
    }

    fn likelihood(&self, example: Example) -> Result<Likelihood, EvalError> {
        let sums = self.network.evaluate(&Batch { examples: vec![example] })?;
        Ok(Likelihood { surprise: sums.cross_entropy, hits: sums.correct as u64, tokens: sums.tokens as u64 })
    }
}

impl Subject for Trained {
    fn architecture(&self) -> Architecture {
        self.network.architecture()
    }

    fn arithmetic(&self) -> String {
        "f32".to_owned()
    }

    fn check(&self, objective: RowObjective) -> Result<(), EvalError> {
        if self.network.architecture().classifies() {
            return check_classifier(self.architecture(), objective);
        }
        match objective {
            RowObjective::Causal if self.network.architecture().has_encoder() => Err(EvalError::WrongObjective {
                architecture: self.architecture(),
                objective: objective.name(),
                instead: "reads a source: choose --objective prefix_lm",
            }),
            _ => Ok(()),
        }
    }

    fn input_spec(&self) -> InputSpec {
        let source_tokens = self.limits.source_tokens.min(self.network.source_positions());
        let target_tokens = self.limits.target_tokens.min(self.network.target_positions());
        let tokens = self.network.tokens();
        let vocab = self.network.vocab();
        let reader = match self.network.architecture().stacks {
            Stacks::EncoderDecoder | Stacks::Encoder => Reader::EncoderDecoder,
            Stacks::Decoder => Reader::DecoderOnly,
        };
        InputSpec {
            tokenizer: Arc::clone(&self.tokenizer),
            labels: self.network.architecture().classifies().then(|| self.network.labels()),
            reader,
            tokens: ModelTokens { start: tokens.start, end: tokens.end, source_vocab: vocab, target_vocab: vocab },
            source_tokens,
            target_tokens,
            text_tokens: match reader {
                Reader::EncoderDecoder => text_tokens(source_tokens, target_tokens),
                // A start token and an end token stand around the text.
                Reader::DecoderOnly => source_tokens.saturating_sub(2).max(2),
            },
        }
    }

    fn answer(
        &mut self,
        questions: &mut dyn Iterator<Item = Result<Question, CommandError>>,
        ask: Ask,
        take: &mut dyn FnMut(usize, Outcome) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        loop {
            let group = questions.take(GROUP_QUESTIONS).collect::<Result<Vec<_>, _>>()?;
            if group.is_empty() {
                return Ok(());
            }
            for (index, outcome) in self.threads.install(|| self.answers(group, ask))? {
                take(index, outcome)?;
            }
        }
    }

    fn end(self: Box<Self>) {}
}
