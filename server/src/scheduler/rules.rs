//! Rules of draws: from a request's controls and the tokens of one line to what its next draw may choose.
//!
//! The only place that knows how controls, `min_tokens` and end tokens become a rule; rows of plain sequences and of
//! beams both call it. Knows no sequence, page or row.

use kernels::{DrawRule, DrawRules, LogitEdit, RuleId, TokenMask};

use super::history::{History, SeenToken, TargetTokens};
use super::limits::BoundaryTokens;
use super::sequence::Request;
use crate::request::{Controls, GenerationRequest, RequestId, TokenBias, TokenSet};

/// The end tokens of a request.
#[derive(Debug)]
pub struct EndTokens {
    /// Tokens that end a choice.
    ending: Vec<u32>,
    /// Tokens that are not chosen before `min_tokens`, ascending: those, and the model's where they are ignored.
    held_back: Vec<u32>,
}

impl EndTokens {
    /// The end tokens of a request to a model with these.
    pub fn new(asked: &GenerationRequest, tokens: &BoundaryTokens) -> Self {
        let stops = &asked.controls.stop_tokens;
        let model_s = if asked.ignore_end { &[][..] } else { &tokens.end };
        let mut ending = [model_s, stops].concat();
        ending.sort_unstable();
        ending.dedup();
        let mut held_back = [&tokens.end[..], stops].concat();
        held_back.sort_unstable();
        held_back.dedup();
        Self { ending, held_back }
    }

    /// Number of tokens that end a choice.
    pub const fn count(&self) -> usize {
        self.ending.len()
    }

    /// Tokens that are not chosen before `min_tokens`, ascending.
    pub fn held_back(&self) -> &[u32] {
        &self.held_back
    }

    /// Whether a token ends a choice.
    pub fn ends(&self, id: u32) -> bool {
        self.ending.contains(&id)
    }
}

/// The ids among which the token after `generated` ones must be, whatever else the request asks; transformers then
/// counts a log-probability of 0 for it in a beam search. A constraint decides alone.
pub fn forced(asked: &GenerationRequest, generated: usize) -> Option<&[u32]> {
    if asked.constraint.is_some() {
        return None;
    }
    let Controls { forced_first, forced_last, .. } = &*asked.controls;
    if !forced_last.is_empty() && generated + 1 == asked.max_tokens as usize {
        return Some(forced_last);
    }
    let is_first = generated == 0 && asked.decoder_prompt.is_empty();
    forced_first.as_ref().filter(|_| is_first).map(std::slice::from_ref)
}

/// Number of generated tokens before the first one that is not forced, as transformers counts it.
fn first_free(asked: &GenerationRequest) -> usize {
    usize::from(asked.controls.forced_first.is_some() && asked.decoder_prompt.is_empty())
}

/// Writes rules; keeps its working memory from step to step.
#[derive(Debug, Default)]
pub struct RuleWriter {
    edits: Vec<LogitEdit>,
    banned: Vec<u32>,
    /// The latest rule of this step that no token changes: choices of a request follow each other and share it.
    shared: Option<SharedRule>,
}

#[derive(Debug, Clone, Copy)]
struct SharedRule {
    request: RequestId,
    /// Whether end tokens, and ids that may not be first, are held back.
    holds_back: [bool; 2],
    rule: Option<RuleId>,
}

impl RuleWriter {
    /// Begins the rules of a step.
    pub const fn begin(&mut self) {
        self.shared = None;
    }

    /// Adds the rule of the token that follows `target`; `None` where every id may be chosen by its own logit. The
    /// history is of this target, and is read on.
    pub fn after(
        &mut self,
        request: &Request,
        generated: &[u32],
        history: &mut History,
        rules: &mut DrawRules,
    ) -> Option<RuleId> {
        let controls = &*request.asked.controls;
        if !request.asked.follows_tokens() || forced(&request.asked, generated.len()).is_some() {
            return self.without_tokens(request, generated.len(), rules);
        }
        let target = request.target(generated);
        if history.is_new() {
            *history = request.beginning();
        }
        history.read_on(target, controls);
        self.begin_rule(request, generated.len());
        history.repeating(controls, &mut self.banned);
        self.ban_bad_words(controls, target);
        self.add(request, history.seen(), rules)
    }

    /// Adds the rule of the token that follows `generated` generated ones, known or not.
    ///
    /// # Panics
    /// When the request's controls follow tokens, and no token is forced.
    pub fn without_tokens(&mut self, request: &Request, generated: usize, rules: &mut DrawRules) -> Option<RuleId> {
        let asked = &request.asked;
        if let Some(ids) = forced(asked, generated) {
            let set: TokenSet = ids.iter().copied().collect();
            let mask = Some(TokenMask { words: set.words() });
            return Some(rules.add(DrawRule { mask, ..DrawRule::default() }));
        }
        assert!(!asked.follows_tokens(), "the tokens that a rule follows are known");
        let holds_back = [generated < asked.min_tokens as usize, generated == first_free(asked)];
        let is_same = |shared: &SharedRule| shared.request == request.id && shared.holds_back == holds_back;
        if let Some(shared) = self.shared.filter(is_same) {
            return shared.rule;
        }
        self.begin_rule(request, generated);
        let rule = self.add(request, &[], rules);
        self.shared = Some(SharedRule { request: request.id, holds_back, rule });
        rule
    }

    /// Begins a rule with the ids that no token changes.
    fn begin_rule(&mut self, request: &Request, generated: usize) {
        self.banned.clear();
        self.banned.extend_from_slice(&request.asked.controls.banned);
        if generated == first_free(&request.asked) {
            self.banned.extend_from_slice(&request.asked.controls.banned_first);
        }
        // Under a constraint the end is held back with the mask.
        if generated < request.asked.min_tokens as usize && request.asked.constraint.is_none() {
            self.banned.extend_from_slice(&request.ends.held_back);
        }
    }

    fn ban_bad_words(&mut self, controls: &Controls, target: TargetTokens<'_>) {
        let words = controls.bad_words_after(target.at(target.len() - 1)).iter();
        let reached = words.filter_map(|word| {
            let (last, before) = word.split_last()?;
            target.ends_with(before).then_some(*last)
        });
        self.banned.extend(reached);
    }

    /// Adds the rule of the banned ids and of the edits for ids of the target. Under a constraint there always is one:
    /// it gets a mask.
    fn add(&mut self, request: &Request, seen: &[SeenToken], rules: &mut DrawRules) -> Option<RuleId> {
        let Self { edits, banned, .. } = self;
        let controls = &*request.asked.controls;
        banned.sort_unstable();
        banned.dedup();
        edits.clear();
        write_edits(controls, seen, edits);
        let mask = controls.allowed.as_ref().map(|allowed| TokenMask { words: allowed.words() });
        let rule = DrawRule { mask, edits, banned };
        (request.asked.constraint.is_some() || !rule.is_free()).then(|| rules.add(rule))
    }
}

/// Appends the edits of biased ids and of ids of the target, ascending.
fn write_edits(controls: &Controls, seen: &[SeenToken], out: &mut Vec<LogitEdit>) {
    let (mut biases, mut seen) = (controls.biases.iter().peekable(), seen.iter().peekable());
    loop {
        let next = [biases.peek().map(|bias| bias.id), seen.peek().map(|seen| seen.id)];
        let Some(id) = next.into_iter().flatten().min() else { return };
        let bias = biases.next_if(|bias| bias.id == id).map_or(0.0, |&TokenBias { bias, .. }| bias);
        let seen = seen.next_if(|seen| seen.id == id);
        let penalty = if seen.is_some() { controls.repetition_penalty } else { 1.0 };
        let edit = LogitEdit { id, penalty, bias: bias - subtracted(controls, seen) };
        if edit.penalty != 1.0 || edit.bias != 0.0 {
            out.push(edit);
        }
    }
}

/// The presence and frequency penalty of an id.
fn subtracted(controls: &Controls, seen: Option<&SeenToken>) -> f32 {
    match seen.map_or(0, |seen| seen.generated) {
        0 => 0.0,
        times => controls.presence_penalty + controls.frequency_penalty * times as f32,
    }
}
