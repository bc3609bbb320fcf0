//! A request for generated tokens, and its lengths.
//!
//! Lengths and ids are checked before a request reaches the engine: by `api`, and by the engine's limits.

use std::sync::Arc;

use kernels::Sampling;

use super::beams::{BeamSearch, EarlyStopping};
use super::constraint::Constraint;
use super::controls::Controls;
use super::stop_check::StopCheck;

/// Temperatures below this choose the most probable token: dividing by them would overflow float32.
const GREEDY_BELOW: f64 = 1e-5;

/// The engine's temperature for the one that a client asks for; 0 means greedy.
pub fn sampling_temperature(asked: f64) -> f32 {
    if asked < GREEDY_BELOW { 0.0 } else { asked as f32 }
}

/// Identifies a request for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// One source and the continuations wanted of it.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationRequest {
    /// Encoder ids; none where the model's decoder also writes without a source.
    pub source: Arc<[u32]>,
    /// Forced first decoder ids, without the start token.
    pub decoder_prompt: Vec<u32>,
    /// Number of continuations (`n`), at least one.
    pub choices: u32,
    /// The choices are the best hypotheses of one search; at most as many as it is wide. It draws nothing.
    pub beams: Option<BeamSearch>,
    /// Most tokens to generate for each choice; 0 only scores the decoder prompt.
    pub max_tokens: u32,
    /// Number of tokens before which no end token is chosen.
    pub min_tokens: u32,
    /// End tokens do not end a choice.
    pub ignore_end: bool,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Rules that every draw keeps to beside.
    pub controls: Arc<Controls>,
    /// The form that every choice must have.
    pub constraint: Option<Constraint>,
    /// Strings that end a hypothesis of a beam search. Other choices are cancelled at theirs.
    pub stop: Option<StopCheck>,
    /// Steps that a search among finite targets may take to be exact; 0: it is as any other.
    pub exact_steps: u32,
    /// Tokens may be drafted from the source and the text so far. It changes the pace, no token.
    pub speculation: bool,
    /// Number of alternatives to report with each generated token's log-probability; `None` reports none.
    pub log_probs: Option<u32>,
    /// Which tokens of the decoder prompt are scored; `None` scores none.
    pub prompt_scores: Option<PromptScores>,
}

/// Tokens of a decoder prompt whose log-probabilities are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PromptScores {
    /// Number of alternatives to report with each.
    pub top: u32,
    /// Index of the first of them. Those before it are known from another target of the same source.
    pub from: usize,
}

impl PromptScores {
    /// All tokens, with so many alternatives.
    pub const fn all(top: u32) -> Self {
        Self { top, from: 0 }
    }
}

impl GenerationRequest {
    /// A request for one greedy choice of at most `max_tokens` tokens that an end token ends earlier, without a decoder
    /// prompt or log-probabilities.
    pub fn new(source: impl Into<Arc<[u32]>>, max_tokens: u32) -> Self {
        Self {
            source: source.into(),
            decoder_prompt: Vec::new(),
            choices: 1,
            beams: None,
            max_tokens,
            min_tokens: 0,
            ignore_end: false,
            sampling: Sampling::GREEDY,
            controls: Arc::default(),
            constraint: None,
            stop: None,
            exact_steps: 0,
            speculation: false,
            log_probs: None,
            prompt_scores: None,
        }
    }

    /// Whether tokens of the decoder prompt are scored.
    pub fn scores_prompt(&self) -> bool {
        self.prompt_scores.is_some_and(|scores| scores.from < self.decoder_prompt.len())
    }

    /// Whether what may be drawn depends on the tokens before it, so that these must be known.
    pub fn follows_tokens(&self) -> bool {
        self.controls.follow_tokens() || self.constraint.is_some()
    }

    /// Whether tokens can be drafted: nothing else that is asked depends on the tokens before a draw.
    pub fn may_draft(&self) -> bool {
        self.speculation && self.beams.is_none() && !self.follows_tokens()
    }

    /// Whether ids may be refused, beside end tokens before `min_tokens`: all but one where one is forced.
    pub fn refuses_ids(&self) -> bool {
        let Controls { forced_first, forced_last, .. } = &*self.controls;
        let are_forced = forced_first.is_some() || !forced_last.is_empty();
        self.controls.refuse_ids() || self.constraint.is_some() || are_forced
    }

    /// Most tokens of a target, where the request is a search among finite targets that is to be exact: its hypotheses
    /// are the best of all targets, unless its steps do not suffice. It reports no log-probabilities of tokens.
    pub fn exact_search(&self) -> Option<usize> {
        self.beams.filter(|beams| beams.early_stopping != EarlyStopping::Full)?;
        let is_exact = self.exact_steps > 0 && !self.ignore_end && self.log_probs.is_none();
        self.constraint.as_ref().filter(|_| is_exact && self.controls.only_lower())?.longest()
    }

    /// Whether the request is a search among finite targets, exact or not.
    pub fn searches_targets(&self) -> bool {
        let is_finite = |constraint: &Constraint| constraint.longest().is_some();
        self.beams.is_some() && self.constraint.as_ref().is_some_and(is_finite)
    }

    /// Number of sequences that the request is for the scheduler.
    pub const fn sequences(&self) -> u32 {
        if self.beams.is_some() { 1 } else { self.choices }
    }

    /// Most branches of each sequence: the width of its search, or one.
    pub fn branches(&self) -> usize {
        self.beams.map_or(1, |beams| beams.width as usize)
    }

    /// The lengths that limits are about.
    pub fn lengths(&self) -> RequestLengths {
        RequestLengths {
            branches: self.branches(),
            source: self.source.len(),
            decoder_prompt: self.decoder_prompt.len(),
            max_tokens: self.max_tokens as usize,
        }
    }
}

/// Lengths of a request, in tokens, and its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLengths {
    /// Most branches that run side by side in one sequence: the width of a beam search, or one.
    pub branches: usize,
    /// Length of the source.
    pub source: usize,
    /// Length of the decoder prompt, without the start token.
    pub decoder_prompt: usize,
    /// Most tokens to generate for one choice.
    pub max_tokens: usize,
}

impl RequestLengths {
    /// Decoder positions that one choice takes at most. The start token takes one and the last generated token, which
    /// the decoder never reads, takes none.
    pub const fn target_positions(&self) -> usize {
        self.decoder_prompt + self.max_tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_scored_only_where_it_has_tokens() {
        let scored = GenerationRequest {
            decoder_prompt: vec![5],
            prompt_scores: Some(PromptScores::all(0)),
            ..GenerationRequest::new([1, 2], 3)
        };
        assert!(scored.scores_prompt());
        let later = PromptScores { top: 0, from: 1 };
        assert!(!GenerationRequest { prompt_scores: Some(later), ..scored.clone() }.scores_prompt());
        assert!(!GenerationRequest { decoder_prompt: Vec::new(), ..scored.clone() }.scores_prompt());
        assert!(!GenerationRequest { prompt_scores: None, ..scored }.scores_prompt());
    }

    #[test]
    fn temperatures_too_small_to_divide_by_are_greedy() {
        assert_eq!([0.0, 1e-45, 9.9e-6, 1e-5, 0.5].map(sampling_temperature), [0.0, 0.0, 0.0, 1e-5, 0.5]);
    }
}
