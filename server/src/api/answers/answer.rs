//! A request in the engine: its streams, its choices and its usage.
//!
//! Driven by `whole` and `stream`. Dropping it cancels the work.

use std::sync::Arc;
use std::time::Instant;

use super::choice::{Choice, ChoiceSettings, Piece};
use super::delivery::Delivery;
use super::form::ChoicePiece;
use super::generations::{Generations, PromptEvent};
use super::record::RequestRecord;
use super::usage::Usage;
use crate::api::http::ApiError;
use crate::engine::Generation;
use crate::request::GenerationEvent;
use crate::traces::{PromptTimes, TokenTimes};

/// The engine's requests for one HTTP request.
#[derive(Debug)]
pub struct Submitted {
    /// One stream per prompt and beginning of targets: those of the first prompt first.
    pub generations: Vec<Generation>,
    /// Encoder ids of each prompt.
    pub sources: Vec<Arc<[u32]>>,
    /// Continuations of each prompt.
    pub choices_per_prompt: usize,
    /// Number of them that are answered: the best ones, where they are fewer.
    pub kept_per_prompt: usize,
    /// Settings of the choices of each beginning of targets, at least one.
    pub settings: Vec<Arc<ChoiceSettings>>,
}

/// An answer that is being generated.
#[derive(Debug)]
pub struct Answer {
    generations: Generations,
    /// Stream by stream: choice `c` of stream `p` is at `p * choices_per_prompt + c`.
    choices: Vec<Running>,
    choices_per_prompt: usize,
    kept_per_prompt: usize,
    /// Streams of each prompt, of which the first one tells whether its source was encoded already.
    targets_per_source: usize,
    streams: Vec<Stream>,
    usage: Usage,
    delivery: Delivery,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    /// Choices that are not finished.
    unfinished: usize,
    times: PromptTimes,
}

#[derive(Debug)]
struct Running {
    choice: Choice,
    times: TokenTimes,
}

impl Answer {
    /// An answer whose engine has sent no event yet.
    pub fn new(submitted: Submitted, delivery: Delivery) -> Self {
        let Submitted { generations, sources, choices_per_prompt, kept_per_prompt, settings } = submitted;
        let choices = sources
            .iter()
            .flat_map(|source| settings.iter().map(move |settings| (source, settings)))
            .flat_map(|target| std::iter::repeat_n(target, choices_per_prompt))
            .map(|(source, settings)| Running { choice: Choice::new(settings, source), times: TokenTimes::default() })
            .collect();
        let targets_per_source = settings.len();
        let stream = Stream { unfinished: choices_per_prompt, times: PromptTimes::default() };
        Self {
            generations: Generations::new(generations),
            choices,
            choices_per_prompt,
            kept_per_prompt,
            streams: vec![stream; sources.len() * targets_per_source],
            targets_per_source,
            usage: Usage {
                prompt_tokens: sources.iter().map(|source| source.len() as u64).sum(),
                cached_tokens: 0,
                completion_tokens: 0,
                drafted_tokens: 0,
                accepted_tokens: 0,
            },
            delivery,
        }
    }

    /// Waits until the engine has begun with one of the prompts.
    ///
    /// # Errors
    /// When the server ends first.
    pub async fn begin(&mut self) -> Result<(), ApiError> {
        tokio::select! {
            biased;
            error = self.delivery.record.cut_off() => Err(error),
            () = self.generations.arrived() => Ok(()),
        }
    }

    /// Reads on until a choice has changed; its index, or `None` when all are finished.
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn advance(&mut self) -> Result<Option<usize>, ApiError> {
        loop {
            let next = tokio::select! {
                biased;
                error = self.delivery.record.cut_off() => return Err(error),
                next = self.generations.next() => next,
            };
            let Some(PromptEvent { prompt, event }) = next else { return Ok(None) };
            let event = event.ok_or(ApiError::EngineGone)?;
            if let Some(index) = self.apply(prompt, event)? {
                return Ok(Some(index));
            }
        }
    }

    /// Takes everything of choice `index` since the last call, when it is worth a message.
    pub fn take(&mut self, index: usize) -> Option<Piece> {
        self.choices[index].choice.take()
    }

    /// Takes the whole text of each choice that is answered: of the best ones of each prompt, best first, where more
    /// were generated.
    pub fn take_best(&mut self) -> Vec<ChoicePiece> {
        let Self { choices, choices_per_prompt, kept_per_prompt, .. } = self;
        let ranked = choices.chunks_mut((*choices_per_prompt).max(1)).flat_map(|of_prompt| {
            if of_prompt.len() > *kept_per_prompt {
                of_prompt.sort_by(|a, b| b.choice.mean_log_prob().total_cmp(&a.choice.mean_log_prob()));
            }
            of_prompt.iter_mut().take(*kept_per_prompt)
        });
        let pieces = ranked.enumerate().filter_map(|(index, running)| {
            let piece = running.choice.take()?;
            Some(ChoicePiece { index, piece })
        });
        pieces.collect()
    }

    /// Number of tokens so far.
    pub const fn usage(&self) -> &Usage {
        &self.usage
    }

    /// The request's record in metrics and log.
    pub const fn record(&mut self) -> &mut RequestRecord {
        &mut self.delivery.record
    }

    /// Ends the generation; the answer still has to be written.
    pub fn end(self) -> Delivery {
        self.delivery
    }

    fn apply(&mut self, prompt: usize, event: GenerationEvent) -> Result<Option<usize>, ApiError> {
        let index = |choice: u32| prompt * self.choices_per_prompt + choice as usize;
        match event {
            GenerationEvent::Started { cached_tokens } => {
                let is_first = prompt.is_multiple_of(self.targets_per_source);
                let cached_tokens = if is_first { cached_tokens } else { 0 };
                self.usage.cached_tokens += u64::from(cached_tokens);
                self.delivery.record.started(cached_tokens, &mut self.streams[prompt].times);
                Ok(None)
            }
            GenerationEvent::SourceReady => {
                self.streams[prompt].times.source_ready = Some(Instant::now());
                Ok(None)
            }
            GenerationEvent::Scored { choice, score } => {
                self.choices[index(choice)].choice.score(score);
                Ok(None)
            }
            GenerationEvent::Token { choice, id, score } => {
                let index = index(choice);
                let running = &mut self.choices[index];
                if running.choice.is_finished() {
                    // It ended with a stop string; the engine had not heard of it yet.
                    return Ok(None);
                }
                self.usage.completion_tokens += 1;
                self.delivery.record.token(&mut self.streams[prompt].times, &mut running.times);
                let since = self.delivery.record.is_traced().then(Instant::now);
                let has_ended = running.choice.token(id, score);
                if let Some(since) = since {
                    self.streams[prompt].times.detokenising += since.elapsed();
                }
                if has_ended {
                    self.generations.cancel_choice(prompt, choice);
                    self.one_finished(prompt, index);
                } else if let Some(reason) = self.generations.take_finish(prompt, choice) {
                    // A stream says both in one message.
                    running.choice.finish(reason);
                    self.one_finished(prompt, index);
                }
                Ok(Some(index))
            }
            GenerationEvent::Drafted { drafted, accepted, .. } => {
                self.usage.drafted_tokens += u64::from(drafted);
                self.usage.accepted_tokens += u64::from(accepted);
                Ok(None)
            }
            GenerationEvent::Rated { choice, rating } => {
                self.choices[index(choice)].choice.rate(rating);
                Ok(None)
            }
            GenerationEvent::Finished { choice, reason } => {
                let index = index(choice);
                let running = &mut self.choices[index];
                if running.choice.is_finished() {
                    return Ok(None);
                }
                running.choice.finish(reason);
                self.one_finished(prompt, index);
                Ok(Some(index))
            }
            GenerationEvent::Failed { message, kind } => Err(ApiError::failed(message, kind)),
        }
    }

    fn one_finished(&mut self, prompt: usize, index: usize) {
        let Running { choice, times } = &self.choices[index];
        if let Some(reason) = choice.finish_reason() {
            self.delivery.record.finished(reason, choice.generated(), times);
        }
        let stream = &mut self.streams[prompt];
        stream.unfinished -= 1;
        if stream.unfinished == 0 {
            self.delivery.record.prompt_finished(&stream.times);
            self.generations.close(prompt);
        }
    }
}
