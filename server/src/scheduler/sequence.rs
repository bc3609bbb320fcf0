//! A sequence: one choice of a request or its whole beam search, the tokens so far, and the purpose of each row.
//!
//! A sequence keeps all of this through preemption. It owns no pages; see `running`.

use std::sync::{Arc, OnceLock};

use kernels::{Draw, PAGE_TOKENS, RuleId, TokenMask};

use super::drafter::{Draft, Drafter};
use super::history::{History, TargetTokens};
use super::limits::BoundaryTokens;
use super::place::Place;
use super::plan::{Plan, narrow};
use super::pool_size::target_pages;
use super::rules::{EndTokens, RuleWriter};
use super::searching::Beams;
use super::source::SourceKey;
use crate::request::{GenerationRequest, Priority, RequestId, TokenSet};

/// Identifies a sequence. Ids ascend in the order in which sequences have their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// Place of a sequence in the order of those that run or wait: by priority, then by when they had their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// The priority of its call.
    pub priority: Priority,
    /// The sequence.
    pub id: SequenceId,
}

/// A request, shared by its choices.
#[derive(Debug)]
pub struct Request {
    /// Id of the request.
    pub id: RequestId,
    /// Whether it gives way to others.
    pub priority: Priority,
    /// Number of rows that a step has left, however many others run.
    pub spare_rows: usize,
    /// The source, for the encoder.
    pub source: SourceKey,
    /// The decoder's first token.
    pub start_token: u32,
    /// Its end tokens.
    pub ends: EndTokens,
    /// The request as it was submitted.
    pub asked: GenerationRequest,
    /// Facts about the start token and the decoder prompt, once a choice needed them.
    beginning: OnceLock<History>,
}

impl Request {
    /// A request to a model with these tokens.
    pub fn new(id: RequestId, source: SourceKey, tokens: &BoundaryTokens, asked: GenerationRequest) -> Self {
        let ends = EndTokens::new(&asked, tokens);
        Self {
            id,
            priority: Priority::default(),
            spare_rows: 0,
            source,
            start_token: tokens.start,
            ends,
            asked,
            beginning: OnceLock::new(),
        }
    }

    /// The history of a choice that has no tokens of its own. Choices share it.
    pub fn beginning(&self) -> History {
        let read = || {
            let mut history = History::default();
            history.read_on(self.target(&[]), &self.asked.controls);
            history
        };
        self.beginning.get_or_init(read).clone()
    }

    /// Most target positions that a choice runs. The last token that may be generated is never read.
    pub fn target_positions(&self) -> usize {
        self.asked.lengths().target_positions()
    }

    /// The target with these generated tokens.
    pub fn target<'a>(&'a self, generated: &'a [u32]) -> TargetTokens<'a> {
        TargetTokens { start: self.start_token, prompt: &self.asked.decoder_prompt, generated }
    }

    /// Whether the answer is known without the model.
    pub fn is_trivial(&self) -> bool {
        self.asked.max_tokens == 0 && !self.asked.scores_prompt()
    }
}

/// One choice of a request, or all of them.
#[derive(Debug, Clone, Copy)]
pub struct Selection {
    /// The request.
    pub request: RequestId,
    /// The choice; `None` selects all.
    pub choice: Option<u32>,
}

impl Selection {
    /// Whether this choice of this request is selected.
    pub fn covers(self, request: RequestId, choice: u32) -> bool {
        self.request == request && self.choice.is_none_or(|selected| selected == choice)
    }
}

/// The purpose of a row, beside its K/V.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RowOutput {
    /// K/V only.
    Nothing,
    /// The log-probability of a given token, with `top` alternatives.
    Score {
        /// The token.
        next: u32,
        /// Number of alternatives.
        top: u32,
    },
    /// The next token, or the candidates for it in a beam search.
    Sample,
}

/// A row of a branch of a search.
#[derive(Debug, Clone, Copy)]
pub struct Behind {
    /// The branch.
    pub branch: usize,
    /// Number of tokens without a choice before it.
    pub forced: usize,
}

/// Tokens after the decoder prompt, branch by branch.
#[derive(Debug)]
pub enum Lines {
    /// The one branch of a choice.
    Choice(Vec<u32>),
    /// The branches of a beam search.
    Beams(Box<Beams>),
}

/// One choice of a request, or its beam search.
#[derive(Debug)]
pub struct Sequence {
    /// Id of the sequence.
    pub id: SequenceId,
    /// The request.
    pub request: Arc<Request>,
    /// Index of the choice; 0 in a beam search, which is all choices.
    pub choice: u32,
    /// Tokens after the decoder prompt.
    pub lines: Lines,
    /// Facts about the tokens of each branch that rules need.
    pub histories: Vec<History>,
    /// Where each branch stands in the request's constraint; empty without one, and before it is admitted.
    pub places: Vec<Place>,
    /// Number of leading tokens of the decoder prompt whose scores were delivered, or are not asked for.
    pub scored: usize,
    /// Makes drafts, where the request has them.
    pub drafter: Option<Box<Drafter>>,
}

impl Sequence {
    /// A sequence that has not begun.
    pub fn new(id: SequenceId, request: Arc<Request>, choice: u32) -> Self {
        let asked = &request.asked;
        let search = Beams::of(&request).map(Box::new);
        let lines = search.map_or_else(|| Lines::Choice(Vec::new()), Lines::Beams);
        let drafter = asked.may_draft().then(Box::default);
        let scored = asked.prompt_scores.unwrap_or_default().from;
        let histories = vec![History::default()];
        Self { id, request, choice, lines, histories, places: Vec::new(), scored, drafter }
    }

    /// Its place in the order of running and waiting sequences.
    pub fn turn(&self) -> Turn {
        Turn { priority: self.request.priority, id: self.id }
    }

    /// Most tokens by which a branch goes on at once because its constraint leaves no choice about them. A choice goes
    /// on by as many as there are, but draws them like any other where their log-probabilities are asked for or
    /// controls may refuse them. Branches of an exact search go on by as many as run in one step beside another such
    /// search and all that else runs, and by none where one of them may complete a stop string. A beam search finds
    /// candidates for each token.
    pub fn most_forced(&self) -> usize {
        let asked = &self.request.asked;
        match &self.lines {
            _ if asked.constraint.is_none() => 0,
            Lines::Choice(_) if asked.log_probs.is_none() && !asked.controls.refuse_ids() => usize::MAX,
            Lines::Beams(beams) if beams.search.drops_none() && asked.stop.is_none() => {
                self.request.spare_rows / 2 / beams.search.branches().max(1)
            }
            Lines::Choice(_) | Lines::Beams(_) => 0,
        }
    }

    /// Tokens without a choice by which a branch goes on, and whose rows run with that of its last token.
    pub fn forced(&self, branch: usize) -> &[u32] {
        self.places.get(branch).map_or(&[], |place| &place.forced)
    }

    /// Number of such tokens of all branches.
    pub fn forced_tokens(&self) -> usize {
        self.places.iter().map(|place| place.forced.len()).sum()
    }

    /// Adds tokens to a choice.
    pub fn extend(&mut self, tokens: &[u32]) {
        if let Lines::Choice(generated) = &mut self.lines {
            generated.extend_from_slice(tokens);
        }
    }

    /// Whether it is selected.
    pub fn is_in(&self, selection: Selection) -> bool {
        selection.covers(self.request.id, self.choice)
    }

    /// Number of rows that it takes of those that run at once.
    pub fn rows(&self) -> usize {
        self.request.asked.branches()
    }

    /// Number of branches that go on.
    pub fn branches(&self) -> usize {
        match &self.lines {
            Lines::Choice(_) => 1,
            Lines::Beams(beams) => beams.search.branches(),
        }
    }

    /// Tokens of a branch after the decoder prompt.
    pub fn generated(&self, branch: usize) -> &[u32] {
        match &self.lines {
            Lines::Choice(tokens) => tokens,
            Lines::Beams(beams) => beams.search.tokens(branch),
        }
    }

    /// Number of tokens of every branch after the decoder prompt.
    pub fn generated_tokens(&self) -> usize {
        match &self.lines {
            Lines::Choice(tokens) => tokens.len(),
            Lines::Beams(beams) => beams.search.len(),
        }
    }

    /// Number of tokens of every branch: start token, decoder prompt and generated tokens.
    pub fn tokens(&self) -> usize {
        1 + self.request.asked.decoder_prompt.len() + self.generated_tokens()
    }

    /// Number of wanted positions whose tokens all branches have in common.
    pub fn stem_positions(&self) -> usize {
        match &self.lines {
            Lines::Choice(_) => self.positions_wanted(),
            Lines::Beams(beams) => {
                let stem = 1 + self.request.asked.decoder_prompt.len() + beams.search.stem();
                stem.min(self.request.target_positions())
            }
        }
    }

    /// Pages of the first branch, which runs alone what all have in common.
    pub fn stem_pages(&self) -> usize {
        let forced = if self.branches() == 1 { self.forced(0).len() } else { 0 };
        target_pages(self.stem_positions() + forced)
    }

    /// Most pages that rows of the tokens there are need: branches share the whole pages of what they have in common.
    pub fn pages_wanted(&self) -> usize {
        let forced = self.places.iter().map(|place| place.forced.len()).max().unwrap_or(0);
        let (all, shared) = (target_pages(self.positions_wanted() + forced), self.stem_positions() / PAGE_TOKENS);
        shared + self.rows() * (all - shared)
    }

    /// The token of a branch at a position before [`Self::tokens`].
    pub fn token(&self, branch: usize, position: usize) -> u32 {
        self.request.target(self.generated(branch)).at(position)
    }

    /// Number of positions whose rows are needed with the tokens there are.
    pub fn positions_wanted(&self) -> usize {
        self.tokens().min(self.request.target_positions())
    }

    /// How the token that follows `generated` generated ones is drawn under a rule. The row is that of the first
    /// output.
    pub fn draw_after(&self, generated: usize, rule: Option<RuleId>) -> Draw {
        let asked = &self.request.asked;
        Draw {
            row: 0,
            sampling: asked.sampling,
            choice: self.choice,
            position: narrow(1 + asked.decoder_prompt.len() + generated),
            rule,
        }
    }

    /// Gives each branch that goes on the history of its parent, an index of a branch before.
    pub fn fork_histories(&mut self, parents: &[usize]) {
        if self.request.asked.controls.follow_tokens() {
            self.histories = parents.iter().map(|&parent| self.histories[parent].clone()).collect();
        }
    }

    /// Begins the histories of all branches anew.
    pub fn begin_histories(&mut self) {
        if self.request.asked.controls.follow_tokens() {
            self.histories = vec![History::default(); self.branches()];
        }
    }

    /// Adds the rule of the next token of a branch, and asks for its mask. The output is the next one of the plan.
    pub fn add_rule(&mut self, branch: usize, writer: &mut RuleWriter, plan: &mut Plan) -> Option<RuleId> {
        let rule = self.rule_of(branch, writer, plan);
        self.add_mask(branch, rule, plan);
        rule
    }

    /// Adds the rule of the token that follows so many of those by which a branch goes on without a choice: only that
    /// one of them may come that does, and behind all of them what the mask says.
    pub fn add_rule_behind(&mut self, at: Behind, writer: &mut RuleWriter, plan: &mut Plan) -> Option<RuleId> {
        let Behind { branch, forced } = at;
        let rule = if forced == 0 {
            self.rule_of(branch, writer, plan)
        } else {
            let generated = [self.generated(branch), &self.forced(branch)[..forced]].concat();
            let mut history = self.histories[self.history_of(branch)].clone();
            writer.after(&self.request, &generated, &mut history, &mut plan.rules)
        };
        match (rule, self.forced(branch).get(forced)) {
            (Some(rule), Some(&next)) => {
                let only: TokenSet = std::iter::once(next).collect();
                plan.rules.narrow(rule, TokenMask { words: only.words() });
            }
            _ => self.add_mask(branch, rule, plan),
        }
        rule
    }

    /// Asks for the mask of a branch, for the rule of the plan's next output.
    fn add_mask(&self, branch: usize, rule: Option<RuleId>, plan: &mut Plan) {
        let output = narrow(plan.outputs.len());
        plan.masks.extend(rule.and_then(|rule| self.ask_mask(branch, rule, output)));
    }

    /// Index of the history of a branch. Without a control that follows tokens branches need none of their own.
    fn history_of(&self, branch: usize) -> usize {
        if self.request.asked.controls.follow_tokens() { branch } else { 0 }
    }

    fn rule_of(&mut self, branch: usize, writer: &mut RuleWriter, plan: &mut Plan) -> Option<RuleId> {
        let index = self.history_of(branch);
        let Self { request, lines, histories, .. } = self;
        let generated = match lines {
            Lines::Choice(tokens) => tokens,
            Lines::Beams(beams) => beams.search.tokens(branch),
        };
        writer.after(request, generated, &mut histories[index], &mut plan.rules)
    }

    /// A draft of at most `most` tokens that may follow, where the request has drafts. The last token of a choice is
    /// not drafted: it has no row.
    pub fn draft(&mut self, source: &[u32], most: usize) -> Draft {
        let left = (self.request.asked.max_tokens as usize).saturating_sub(self.generated_tokens() + 1);
        let (Some(drafter), Lines::Choice(generated)) = (&mut self.drafter, &self.lines) else {
            return Draft::default();
        };
        drafter.draft(source, self.request.target(generated), most.min(left))
    }

    /// The purpose of the row at a wanted or drafted position. Scores and tokens that were delivered are not yielded
    /// again.
    pub fn output(&self, position: usize) -> RowOutput {
        let asked = &self.request.asked;
        if position + 1 >= self.tokens() {
            return RowOutput::Sample;
        }
        match (asked.prompt_scores, asked.decoder_prompt.get(position)) {
            (Some(scores), Some(&next)) if position >= self.scored => RowOutput::Score { next, top: scores.top },
            _ => RowOutput::Nothing,
        }
    }
}
