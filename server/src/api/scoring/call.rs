//! A scoring call: texts, which of them belong together, and how they are scored.
//!
//! Made by `parse`, read by the other files here.

use std::time::Duration;

use crate::api::fields::{Prompt, PromptNames, Prompts, Truncation};
use crate::api::json::json_bytes;
use crate::api::texts::about_tokens_of;
use crate::api::turn::Demand;
use crate::engine::EngineLimits;
use crate::overload::Work;
use crate::registry::ServedModel;

/// A scoring call with defaults filled in.
#[derive(Debug)]
pub struct ScoringCall {
    /// Texts that the encoder reads.
    pub sources: Prompts,
    /// Texts whose fit is asked for.
    pub targets: Prompts,
    /// Number of texts of both sides.
    pub texts: usize,
    /// Pairs to be scored, in the order of the answer; at least one.
    pub pairs: Vec<Pair>,
    /// The field that may have many texts, for errors about all of them.
    pub many: &'static str,
    /// How pairs are scored.
    pub method: Method,
    /// Whether the tokenizer frames what the encoder reads.
    pub add_special_tokens: bool,
    /// Which tokens of longer texts are kept; longer ones are refused when absent.
    pub truncation: Option<Truncation>,
    /// Only requests with the same one share encoded sources.
    pub cache_salt: Option<String>,
    /// The time within which the answer is wanted.
    pub timeout: Option<Duration>,
    /// The form of the answer.
    pub form: ScoresForm,
}

/// A source and a target, by their indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Index of the source.
    pub source: usize,
    /// Index of the target.
    pub target: usize,
}

/// How pairs are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The logarithm of the target's probability after the source.
    Likelihood {
        /// Divided by the number of scored tokens.
        per_token: bool,
        /// The target is a whole text: the end token after it is scored too.
        with_end: bool,
    },
    /// The cosine of both texts' mean encoder states.
    Embedding,
}

/// The form of the answer.
#[derive(Debug)]
pub enum ScoresForm {
    /// Scores in the order of the pairs.
    Scores,
    /// Documents from best to worst.
    Ranking {
        /// Most of them; all when absent.
        most: Option<usize>,
        /// The documents' texts, in their order, when they are given back.
        documents: Option<Vec<String>>,
    },
}

impl ScoringCall {
    /// Places in the queue that it takes, one for each sequence or text.
    pub fn places(&self) -> usize {
        match self.method {
            Method::Likelihood { .. } => self.pairs.len(),
            Method::Embedding => self.texts,
        }
    }

    /// Rows and work that the call asks of a model, before its texts are tokens.
    pub fn demand(&self, model: &ServedModel) -> Demand {
        let EngineLimits { source_tokens, target_tokens, .. } = *model.limits();
        let target_limit = if self.method == Method::Embedding { source_tokens } else { target_tokens };
        let about = |texts: &Prompts, limit: usize| -> Vec<u64> {
            texts.list.iter().map(|text| about_tokens_of(text, limit)).collect()
        };
        let (sources, targets) = (about(&self.sources, source_tokens), about(&self.targets, target_limit));
        let read: u64 = sources.iter().sum();
        let work = match self.method {
            Method::Likelihood { .. } => {
                let target_tokens = self.pairs.iter().map(|pair| targets[pair.target]).sum();
                Work { source_tokens: read, target_tokens }
            }
            Method::Embedding => Work { source_tokens: read + targets.iter().sum::<u64>(), target_tokens: 0 },
        };
        // All pairs make the answer; the targets of a step are computed together.
        let least = Work { target_tokens: work.target_tokens.min(1), ..work };
        Demand { rows: self.places() as u32, work, least }
    }

    /// Bytes of the documents that the answer repeats: as they are kept, and as JSON.
    pub fn repeated_bytes(&self) -> usize {
        match &self.form {
            ScoresForm::Ranking { documents: Some(documents), .. } => {
                documents.iter().map(|document| document.len() + json_bytes(document)).sum()
            }
            _ => 0,
        }
    }

    /// Takes the texts out of the call.
    pub fn take_texts(&mut self) -> [Prompts; 2] {
        [&mut self.sources, &mut self.targets].map(|prompts| Prompts {
            list: std::mem::take(&mut prompts.list),
            names: prompts.names,
            excess: prompts.excess,
        })
    }
}

/// Prompts that are all texts.
pub fn texts(list: Vec<String>, names: PromptNames) -> Prompts {
    Prompts { list: list.into_iter().map(Prompt::Text).collect(), names, excess: None }
}
