//! A checkpoint that can be served, asked through the engine. Many questions are under way at once, each as a request
//! that writes and one that scores.
//!
//! Both requests of a question have the same source, which the engine encodes once.

use std::collections::VecDeque;
use std::sync::Arc;

use model::Tokenizer;
use model::config::Architecture;
use model::training::Example;
use model::training::objective::{ModelTokens, Reader};

use super::answer::{Answer, Ask, Outcome};
use super::error::EvalError;
use super::input_spec::{InputSpec, text_tokens};
use super::question::Question;
use super::rows::RowObjective;
use super::subject::Subject;
use crate::commands::error::CommandError;
use crate::config::Config;
use crate::engine::{Engine, EngineLimits, Generation};
use crate::evaluation::{Likelihood, WantedToken};
use crate::loading::load;
use crate::request::{GenerationEvent, GenerationRequest, PromptScores, Salt};

/// Questions under way for each row that is decoded at once, so that a finished request is followed by the next
/// without a pause.
const WAITING_FACTOR: usize = 4;

/// An engine, with what its requests are made of.
pub struct Served {
    engine: Engine,
    tokenizer: Arc<Tokenizer>,
    tokens: ModelTokens,
    limits: EngineLimits,
    architecture: Architecture,
    arithmetic: String,
    /// Most requests under way.
    requests: usize,
}

/// A question under way.
struct Pending {
    index: usize,
    written: Option<Generation>,
    scored: Option<Generation>,
}

impl Served {
    /// Loads the checkpoint and starts its engine.
    pub fn start(config: &Config) -> Result<Self, CommandError> {
        let loaded = load(config)?;
        let limits = loaded.limits(config)?;
        let tokenizer = loaded.tokenizer.clone().ok_or(CommandError::NoTokenizer)?;
        let model = loaded.config();
        let tokens = ModelTokens {
            start: model.start_token,
            end: model.end_tokens.clone(),
            source_vocab: model.encoder.vocab,
            target_vocab: model.decoder.vocab,
        };
        let (architecture, arithmetic) = (model.architecture(), loaded.arithmetic().to_string());
        let requests = (WAITING_FACTOR * limits.steps.running_rows).min(limits.queued_rows as usize);
        let engine = loaded.start(limits, Arc::default())?;
        Ok(Self { engine, tokenizer, tokens, limits, architecture, arithmetic, requests })
    }

    fn submit(&self, question: Question, ask: Ask) -> Result<Pending, CommandError> {
        let Question { index, example: Example::Pair { source, target } } = question else {
            unreachable!("a model without classes is asked for targets")
        };
        let written =
            ask.max_tokens.map(|max_tokens| self.request(GenerationRequest::new(source.as_slice(), max_tokens)));
        let scored = ask.scores.then(|| {
            let scored = GenerationRequest::new(source.as_slice(), 0);
            self.request(GenerationRequest {
                decoder_prompt: target,
                prompt_scores: Some(PromptScores::all(1)),
                ..scored
            })
        });
        Ok(Pending { index, written: written.transpose()?, scored: scored.transpose()? })
    }

    fn request(&self, request: GenerationRequest) -> Result<Generation, CommandError> {
        let handle = &self.engine.handle;
        handle.check(request.lengths())?;
        Ok(handle.submit(handle.reserve(Salt::default(), 1)?, request)?)
    }

    fn finish(&self, pending: Pending) -> Outcome {
        let written = pending.written.map(|generation| self.written(generation)).transpose()?;
        let likelihood = pending.scored.map(likelihood).transpose()?;
        Ok(Answer { written, likelihood })
    }

    fn written(&self, mut generation: Generation) -> Result<String, String> {
        let mut ids = Vec::new();
        while let Some(event) = generation.blocking_next() {
            match event {
                GenerationEvent::Token { id, .. } => ids.push(id),
                GenerationEvent::Failed { message, .. } => return Err(message),
                GenerationEvent::Started { .. }
                | GenerationEvent::SourceReady
                | GenerationEvent::Scored { .. }
                | GenerationEvent::Drafted { .. }
                | GenerationEvent::Rated { .. }
                | GenerationEvent::Finished { .. } => {}
            }
        }
        Ok(self.tokenizer.decode(&ids))
    }
}

impl Subject for Served {
    fn architecture(&self) -> Architecture {
        self.architecture
    }

    fn arithmetic(&self) -> String {
        self.arithmetic.clone()
    }

    fn check(&self, objective: RowObjective) -> Result<(), EvalError> {
        match objective {
            RowObjective::Seq2seq | RowObjective::Classify | RowObjective::PrefixLm => Ok(()),
            RowObjective::Causal if self.limits.writes_alone => Ok(()),
            RowObjective::Causal => Err(EvalError::WrongObjective {
                architecture: self.architecture(),
                objective: objective.name(),
                instead: "reads a source: choose --objective prefix_lm",
            }),
        }
    }

    fn input_spec(&self) -> InputSpec {
        let EngineLimits { source_tokens, target_tokens, .. } = self.limits;
        InputSpec {
            tokenizer: Arc::clone(&self.tokenizer),
            labels: None,
            reader: Reader::EncoderDecoder,
            tokens: self.tokens.clone(),
            source_tokens,
            target_tokens,
            text_tokens: text_tokens(source_tokens, target_tokens),
        }
    }

    fn answer(
        &mut self,
        questions: &mut dyn Iterator<Item = Result<Question, CommandError>>,
        ask: Ask,
        take: &mut dyn FnMut(usize, Outcome) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let each = usize::from(ask.scores) + usize::from(ask.max_tokens.is_some());
        let at_once = (self.requests / each.max(1)).max(1);
        let mut pending: VecDeque<Pending> = VecDeque::with_capacity(at_once);
        for question in questions {
            if pending.len() == at_once {
                let oldest = pending.pop_front().expect("at least one question is under way");
                take(oldest.index, self.finish(oldest))?;
            }
            pending.push_back(self.submit(question?, ask)?);
        }
        for oldest in pending {
            take(oldest.index, self.finish(oldest))?;
        }
        Ok(())
    }

    fn end(self: Box<Self>) {
        self.engine.handle.drain();
        self.engine.join();
    }
}

/// Likelihood of a scored decoder prompt.
fn likelihood(mut generation: Generation) -> Result<Likelihood, String> {
    let mut likelihood = Likelihood::default();
    while let Some(event) = generation.blocking_next() {
        match event {
            GenerationEvent::Scored { score, .. } => {
                let is_hit = score.top.first().is_some_and(|best| best.id == score.chosen.id);
                likelihood.add(WantedToken { log_prob: f64::from(score.chosen.log_prob), is_hit });
            }
            GenerationEvent::Failed { message, .. } => return Err(message),
            GenerationEvent::Started { .. }
            | GenerationEvent::SourceReady
            | GenerationEvent::Token { .. }
            | GenerationEvent::Drafted { .. }
            | GenerationEvent::Rated { .. }
            | GenerationEvent::Finished { .. } => {}
        }
    }
    Ok(likelihood)
}
