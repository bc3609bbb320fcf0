//! A call: everything that one HTTP request asks of the engine, whatever the form of its body.
//!
//! Made by the rooms of generating endpoints, read by the files here.

use std::sync::Arc;
use std::time::Duration;

use kernels::Sampling;

use crate::api::answers::StreamOptions;
use crate::api::controls::GivenControls;
use crate::api::fields::{Prompt, PromptNames, TextOptions};
use crate::api::http::{ApiError, TargetNames};
use crate::api::structure::GivenStructure;
use crate::api::texts::{Sources, about_tokens, about_tokens_of};
use crate::api::turn::Demand;
use crate::chat_template::Conversation;
use crate::engine::EngineLimits;
use crate::overload::Work;
use crate::registry::ServedModel;
use crate::request::{BeamSearch, PromptScores, Refusal};

/// A call with defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationCall {
    /// Names of its fields in errors.
    pub names: CallNames,
    /// Sources, at least one.
    pub sources: CallSources,
    /// Beginnings of targets: each begins choices of its own after each source. Without any, targets begin with the
    /// start token alone. Several have a single source.
    pub beginnings: Vec<Prompt>,
    /// Text after the span that is to be generated; the sources are the texts before it.
    pub suffix: Option<String>,
    /// Only requests with the same one share encoded sources.
    pub cache_salt: Option<String>,
    /// The time within which the answer is wanted.
    pub timeout: Option<Duration>,
    /// Whether the tokenizer frames the sources as the model was trained; as the chat template needs it when absent.
    pub add_special_tokens: Option<bool>,
    /// Most tokens to generate; the model's default, or as many as fit, when absent.
    pub max_tokens: Option<u32>,
    /// Number of tokens before which nothing ends a text; the model's default when absent.
    pub min_tokens: Option<u32>,
    /// End tokens do not end a text.
    pub ignore_eos: bool,
    /// Number of continuations of each prompt.
    pub choices: u32,
    /// Number of continuations that are generated, where the choices are the best of more: those with the highest mean
    /// log-probability.
    pub best_of: Option<u32>,
    /// The continuations are the best hypotheses of a search.
    pub beams: Option<BeamSearch>,
    /// How tokens are drawn; its seed has no meaning.
    pub sampling: Sampling,
    /// Seed of the random stream; a random one when absent.
    pub seed: Option<u64>,
    /// Strings that end a text.
    pub stop: Vec<String>,
    /// Controls of every draw.
    pub controls: GivenControls,
    /// The form that the text must have.
    pub structure: Option<Arc<GivenStructure>>,
    /// Whether tokens may be drafted.
    pub speculation: bool,
    /// How the text is written.
    pub text_options: TextOptions,
    /// Log-probabilities, with this many alternatives.
    pub log_probs: Option<u32>,
    /// Log-probabilities of the decoder prompt, with this many alternatives.
    pub prompt_log_probs: Option<u32>,
    /// Whether the answer begins with the decoder prompt.
    pub echo: bool,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Contents of the pieces.
    pub stream_options: StreamOptions,
    /// Whether the answer holds token ids.
    pub return_token_ids: bool,
}

/// Names that a body has for what all calls have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallNames {
    /// The fields that make its targets.
    pub target: TargetNames,
    /// Whether the beginnings of targets are a list, of which the field names one by its index.
    pub are_listed: bool,
    /// The field that asks for log-probabilities, or for more of them.
    pub log_probs: &'static str,
    /// The given field that decides how many rows each prompt takes.
    pub rows: Option<&'static str>,
}

impl CallNames {
    /// The name of a beginning of targets.
    pub fn beginning(&self, index: usize) -> String {
        let name = &self.target.beginning;
        if self.are_listed { format!("{name}[{index}]") } else { name.to_string() }
    }

    /// The fields that make the targets of a beginning.
    pub fn target_of(&self, beginning: usize) -> TargetNames {
        TargetNames { beginning: self.beginning(beginning).into(), ..self.target.clone() }
    }
}

/// Sources of a call, before they are token ids.
#[derive(Debug, Clone, PartialEq)]
pub enum CallSources {
    /// Texts or ids as they were given.
    Prompts(Sources),
    /// One conversation, which the model's chat template turns into text.
    Conversation(Conversation),
}

impl CallSources {
    /// Number of sources.
    pub fn count(&self) -> usize {
        match self {
            Self::Prompts(sources) => sources.count(),
            Self::Conversation(_) => 1,
        }
    }

    /// Numbers of tokens of the sources as far as they are known: a text has one at least.
    pub fn known_lengths(&self) -> Vec<usize> {
        let length = |prompt: &Prompt| match prompt {
            Prompt::Ids(ids) => ids.len(),
            Prompt::Text(_) => 1,
        };
        match self {
            Self::Prompts(sources) => sources.prompts.iter().map(length).collect(),
            Self::Conversation(_) => vec![1],
        }
    }

    /// About how many tokens each source has, of which `limit` are read at most.
    fn about_tokens(&self, limit: usize) -> Vec<u64> {
        match self {
            Self::Prompts(sources) => sources.prompts.iter().map(|prompt| about_tokens_of(prompt, limit)).collect(),
            Self::Conversation(conversation) => {
                let bytes = conversation.messages.iter().map(|message| message.content.len()).sum();
                vec![about_tokens(bytes).min(limit as u64)]
            }
        }
    }

    /// Names of the sources in errors.
    pub const fn names(&self) -> PromptNames {
        match self {
            Self::Prompts(sources) => sources.names,
            Self::Conversation(conversation) => PromptNames::Single(conversation.param),
        }
    }
}

impl GenerationCall {
    /// The error of a refusal of one of its sources, or of the targets after it that have this beginning.
    pub fn refused(&self, refusal: Refusal, source: usize, beginning: usize) -> ApiError {
        ApiError::refused(refusal, self.sources.names().of(source), &self.names.target_of(beginning))
    }

    /// Number of targets that are begun after each source, beside its choices.
    pub fn targets_per_source(&self) -> usize {
        self.beginnings.len().max(1)
    }

    /// Number of requests for the engine: each has one source and one beginning.
    pub fn requests(&self) -> usize {
        self.sources.count() * self.targets_per_source()
    }

    /// Number of rows that each prompt takes: one for each choice, or for each branch of its search.
    pub fn rows_of_prompt(&self) -> u32 {
        self.beams.map_or(self.generated(), |beams| beams.width)
    }

    /// Rows and work that the call asks of a model, before its texts are tokens.
    pub fn demand(&self, model: &ServedModel) -> Demand {
        let rows = self.requests() as u32 * self.rows_of_prompt();
        let EngineLimits { source_tokens: longest, target_tokens: limit, .. } = *model.limits();
        let sources = self.sources.about_tokens(longest);
        let beginnings = self.beginnings.iter().map(|beginning| about_tokens_of(beginning, limit));
        let beginning = beginnings.max().unwrap_or(0);
        let usual = model.defaults.most_tokens.map(|limit| limit.generated(beginning as usize));
        let most = self.max_tokens.or(usual).map_or(u64::MAX, u64::from).min(limit as u64);
        let each = beginning.saturating_add(most).min(limit as u64);
        let least = if self.ignore_eos { most } else { u64::from(self.known_min_tokens()).max(1) };
        let work = Work { source_tokens: sources.iter().sum(), target_tokens: u64::from(rows) * each };
        let source_tokens = sources.first().copied().unwrap_or_default();
        Demand { rows, work, least: Work { source_tokens, target_tokens: least.min(each) } }
    }

    /// Number of continuations of each prompt that the engine gives back.
    pub fn generated(&self) -> u32 {
        self.best_of.unwrap_or(self.choices)
    }

    /// Number of branches that run side by side in one sequence.
    pub fn branches(&self) -> usize {
        self.beams.map_or(1, |beams| beams.width as usize)
    }

    /// Number of tokens before which nothing ends a text, as far as that is known.
    pub fn known_min_tokens(&self) -> u32 {
        self.min_tokens.unwrap_or(0)
    }

    /// Most tokens to generate, as far as that is known: at least one where as many as fit are wanted.
    pub fn known_max_tokens(&self) -> u32 {
        self.max_tokens.unwrap_or(1)
    }

    /// Most tokens of a prompt's search whose log-probabilities the engine holds: those of its branches and of as many
    /// hypotheses.
    pub fn held_per_prompt(&self) -> u64 {
        match (self.beams, self.log_probs) {
            (Some(beams), Some(_)) => 2 * u64::from(beams.width) * u64::from(self.known_max_tokens()),
            _ => 0,
        }
    }

    /// Tokens with log-probabilities for each prompt when the decoder prompt has so many tokens.
    pub fn scored_per_prompt(&self, decoder_prompt: usize) -> u64 {
        if self.log_probs.is_none() {
            return 0;
        }
        let echoed = if self.echo { decoder_prompt as u64 } else { 0 };
        u64::from(self.generated()).saturating_mul(echoed + u64::from(self.known_max_tokens()))
    }

    /// Tokens of decoder prompts for each prompt whose log-probabilities stand apart, when one has so many tokens.
    pub fn prompt_scored_per_prompt(&self, decoder_prompt: usize) -> u64 {
        self.prompt_log_probs.map_or(0, |_| u64::from(self.generated()).saturating_mul(decoder_prompt as u64))
    }

    /// Log-probabilities for each prompt, told or held, when the decoder prompt has so many tokens.
    pub fn log_probs_per_prompt(&self, decoder_prompt: usize) -> u64 {
        let [each, of_prompt] =
            [self.log_probs, self.prompt_log_probs].map(|top| u64::from(top.unwrap_or_default()) + 1);
        let generated = (self.scored_per_prompt(decoder_prompt) + self.held_per_prompt()).saturating_mul(each);
        generated.saturating_add(self.prompt_scored_per_prompt(decoder_prompt).saturating_mul(of_prompt))
    }

    /// Alternatives of each token of an echoed decoder prompt whose log-probabilities are wanted.
    pub fn echoed_log_probs(&self) -> Option<u32> {
        self.log_probs.filter(|_| self.echo)
    }

    /// Tokens of the decoder prompt that the engine scores.
    pub fn prompt_scores(&self) -> Option<PromptScores> {
        self.echoed_log_probs().max(self.prompt_log_probs).map(PromptScores::all)
    }
}
