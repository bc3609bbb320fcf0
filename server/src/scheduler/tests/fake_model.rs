//! A model without numbers: pages remember what was written into them, and every row checks what it reads.
//!
//! A position's "K/V" is a digest of the source and of all tokens up to it, as in a real decoder, so that one wrong or
//! stale page shows at the first row that reads it. Logits are a pure function of that digest.

use kernels::{Candidate, Draw, DrawRule, NO_PLACE, PAGE_TOKENS, PageCopy, PageSpan, TokenScore};
use model::{EncoderCost, LayerParts, PagePieces};

use super::alone::encoded_alone;
use crate::request::EncodeRequest;
use crate::scheduler::{EncodeWork, HeldScore, Lane, Plan, PoolSize, TargetBatch};

/// First token of every target.
pub const START: u32 = 0;
/// Tokens that end a target.
pub const END: [u32; 2] = [1, 2];
/// Number of ids.
pub const VOCABULARY: u32 = 40;
/// A source token with which logits are no numbers.
pub const BROKEN: u32 = 99;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Empty,
    Source { position: usize, token: u32 },
    Target { position: usize, token: u32, digest: u64 },
}

/// Result of a row.
#[derive(Debug, Clone, Copy)]
struct RowDigest {
    digest: u64,
    /// Whether its logits are no numbers.
    is_broken: bool,
}

impl RowDigest {
    /// The digest of a row whose logits are numbers.
    fn of_numbers(self) -> Option<u64> {
        (!self.is_broken).then_some(self.digest)
    }
}

/// A batch in the encoder.
#[derive(Debug, Clone)]
struct Batch {
    sources: Vec<Vec<u32>>,
    of_layer: LayerParts,
    parts_done: usize,
}

/// The model. A clone is what it was before a step.
#[derive(Debug, Clone)]
pub struct FakeModel {
    /// Pieces of pages.
    pages: Vec<Vec<Cell>>,
    pieces: PagePieces,
    source_page_tokens: usize,
    encoder: EncoderCost,
    /// The batch in each lane.
    batches: [Option<Batch>; Lane::ALL.len()],
    steps: u64,
}

/// Results of a step.
#[derive(Debug, Default)]
pub struct StepResult {
    /// A token for each draw of the plan.
    pub chosen: Vec<Option<u32>>,
    /// Candidates for each output of a beam search.
    pub best: Vec<Vec<Candidate>>,
    /// A digest for each output of the plan, in place of log-probabilities.
    pub digests: Vec<u64>,
    /// A digest for each encoder result that is read in the step.
    pub encoded: Vec<u64>,
    /// Outputs whose masks were late.
    pub late: Vec<u32>,
}

/// The digest with one more token.
pub fn mix(digest: u64, token: u32) -> u64 {
    let mut mixed = (digest ^ u64::from(token)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The digest of a source.
pub fn digest_source(ids: impl IntoIterator<Item = u32>) -> u64 {
    ids.into_iter().fold(1, mix)
}

/// The best id under the rule, by logits that are a function of the digest and the draw's parameters.
pub fn draw(digest: u64, draw: &Draw, apply: impl Fn(&mut [f32])) -> Option<u32> {
    let place = mix(mix(digest ^ draw.sampling.seed, draw.choice), draw.position);
    let logit = |id: usize| (place.wrapping_mul(2 * id as u64 + 1) >> 40) as f32 / (1 << 21) as f32 - 4.0;
    let mut logits: [f32; VOCABULARY as usize] = std::array::from_fn(logit);
    // Texts with an odd seed repeat themselves for the most part.
    if !draw.sampling.seed.is_multiple_of(2) && !place.is_multiple_of(32) {
        logits[10 + draw.position as usize % 3] += 20.0;
    }
    apply(&mut logits);
    let best = (0..).zip(&logits).max_by(|a, b| a.1.total_cmp(b.1))?;
    (*best.1 > f32::NEG_INFINITY).then_some(best.0)
}

/// The log-probabilities of all tokens in a beam search, before any rule.
pub fn log_probs(digest: u64) -> [f32; VOCABULARY as usize] {
    std::array::from_fn(|id| -0.1 - 4.0 * (mix(digest, id as u32) >> 40) as f32 / (1_u64 << 24) as f32)
}

/// The best candidates after a row.
fn best(digest: u64, count: u32, rule: DrawRule<'_>) -> Vec<Candidate> {
    let mut edited = log_probs(digest);
    rule.apply(&mut edited);
    let all = (0..).zip(edited).map(|(id, log_prob)| Candidate { id, log_prob, rank: 0 });
    let mut all: Vec<Candidate> = all.filter(|candidate| candidate.log_prob.is_finite()).collect();
    all.sort_by(|a, b| b.log_prob.total_cmp(&a.log_prob));
    all.truncate(count as usize);
    all
}

impl FakeModel {
    pub fn new(pool: PoolSize, encoder: EncoderCost) -> Self {
        let PoolSize { pages, source_page_tokens, pieces } = pool;
        // Cells of a page that both kinds use are the same memory, as in a real pool.
        let page = vec![Cell::Empty; source_page_tokens.max(PAGE_TOKENS)];
        Self {
            pages: vec![page; pages * pieces.all],
            pieces,
            source_page_tokens,
            encoder,
            batches: [None, None],
            steps: 0,
        }
    }

    /// Runs a plan, encode work and rows in either order. `before` holds the tokens that the previous plan drew, for a
    /// plan that was made ahead.
    pub fn run(&mut self, plan: &Plan, before: &[Option<u32>]) -> StepResult {
        self.steps += 1;
        if self.steps.is_multiple_of(2) {
            let encoded = self.encode(plan);
            StepResult { encoded, ..self.decode(plan, before) }
        } else {
            let result = self.decode(plan, before);
            StepResult { encoded: self.encode(plan), ..result }
        }
    }

    /// Runs encoder layers and returns a digest for each result that is read after the last.
    fn encode(&mut self, plan: &Plan) -> Vec<u64> {
        let Some(step) = plan.encode() else { return Vec::new() };
        let sources = sources_of(step);
        let lane = step.lane.index();
        let mut batch = if step.is_first() {
            Batch { sources: sources.clone(), of_layer: step.of_layer, parts_done: 0 }
        } else {
            self.batches[lane].take().expect("a batch that goes on was begun")
        };
        assert_eq!(batch.sources, sources, "the rows of a batch do not change");
        assert_eq!(batch.parts_done, step.parts.start, "no part is left out or run twice");
        batch.parts_done = step.parts.end;
        assert_eq!(batch.of_layer, step.of_layer, "layers are divided in one way");
        assert_eq!(step.all_parts, self.encoder.all_parts(step.of_layer));
        assert_eq!(step.is_last, step.parts.end == step.all_parts);
        if !step.is_last {
            assert!(step.cross_spans.is_empty() && step.readouts.is_empty(), "nothing is read before the last layer");
            self.batches[lane] = Some(batch);
            return Vec::new();
        }
        let (crossed, read) = sources.split_at(step.cross_spans.len());
        assert_eq!(read.len(), step.readouts.len(), "each source is for one");
        for (source, span) in crossed.iter().zip(&step.cross_spans) {
            assert_eq!(span.tokens as usize, source.len());
            for (position, &token) in source.iter().enumerate() {
                for piece in 0..self.pieces.all {
                    *self.source_cell(step.tables.of(piece), span, position) = Cell::Source { position, token };
                }
            }
        }
        let asked = step.asked().into_iter().map(|ask| {
            let rows = ask.segment.start as usize..(ask.segment.start + ask.segment.len) as usize;
            EncodeRequest { source: step.tokens[rows].into(), readout: ask.readout }
        });
        asked.map(|asked| encoded_alone(&asked)).collect()
    }

    fn decode(&mut self, plan: &Plan, before: &[Option<u32>]) -> StepResult {
        self.copy_pages(&plan.copies);
        let TargetBatch { tokens, places, positions, self_spans, cross_spans, .. } = &plan.targets;
        let rows = tokens.len();
        assert_eq!([places.len(), positions.len(), self_spans.len(), cross_spans.len()], [rows; 4]);
        let digests: Vec<RowDigest> = (0..rows).map(|row| self.run_row(&plan.targets, row, before)).collect();
        assert!(plan.outputs.is_sorted_by(|a, b| a.row < b.row));
        let digests: Vec<RowDigest> = plan.outputs.iter().map(|output| digests[output.row as usize]).collect();
        let rows = plan.outputs.iter().enumerate().filter(|(_, output)| output.draw.is_some());
        assert!(rows.map(|(row, _)| row as u32).eq(plan.draws().map(|draw| draw.row)));
        let chosen = plan.draws().map(|own| {
            let digest = digests[own.row as usize].of_numbers()?;
            draw(digest, own, |logits| plan.rules.of(own.rule).apply(logits))
        });
        let best = plan.best_asks().map(|ask| {
            let digest = digests[ask.row as usize].of_numbers();
            digest.map_or_else(Vec::new, |digest| best(digest, ask.count, plan.rules.of(ask.rule)))
        });
        let (chosen, best) = (chosen.collect(), best.collect());
        StepResult { chosen, best, digests: digests.iter().map(|row| row.digest).collect(), ..StepResult::default() }
    }

    /// Copies pages, in the order that is most likely to disturb.
    fn copy_pages(&mut self, copies: &[PageCopy]) {
        let written = |page| copies.iter().filter(|copy| copy.to == page).count();
        for copy in copies.iter().rev() {
            assert_eq!((written(copy.to), written(copy.from)), (1, 0), "copies do not depend on their order");
            self.pages[copy.to as usize] = self.pages[copy.from as usize].clone();
        }
    }

    /// Reads all that the row may see, writes its own position, and returns the digest there.
    fn run_row(&mut self, targets: &TargetBatch, row: usize, before: &[Option<u32>]) -> RowDigest {
        let (cross, own) = (targets.cross_spans[row], targets.self_spans[row]);
        let position = targets.positions[row] as usize;
        assert_eq!(own.tokens as usize, position + 1);
        let source: Vec<u32> =
            (0..cross.tokens as usize).map(|index| self.read_source(targets, &cross, index)).collect();
        let is_broken = source.contains(&BROKEN);
        let mut digest = digest_source(source);
        for index in 0..position {
            let first = *self.target_cell(targets.tables.of(0), &own, index);
            let Cell::Target { position: at, token, digest: stored } = first else {
                panic!("target position {index} holds {first:?}");
            };
            digest = mix(digest, token);
            assert_eq!((at, stored), (index, digest), "target position {index} is of another sequence");
            // Sliding layers read the window only, which ends with the row's own position. A piece is of one target as
            // a whole, so two positions of it tell.
            let window_begins = position - index == self.pieces.window - 1;
            if !window_begins && index + 1 < position && !(index + 1).is_multiple_of(PAGE_TOKENS) {
                continue;
            }
            let is_seen = position - index < self.pieces.window;
            let pieces = if is_seen { self.pieces.all } else { self.pieces.lasting() };
            for piece in 1..pieces {
                let other = *self.target_cell(targets.tables.of(piece), &own, index);
                assert_eq!(other, first, "piece {piece} is of another target");
            }
        }
        let token = match targets.places[row] {
            NO_PLACE => targets.tokens[row],
            place => before[place as usize].unwrap_or_default(),
        };
        let digest = mix(digest, token);
        for piece in 0..self.pieces.all {
            *self.target_cell(targets.tables.of(piece), &own, position) = Cell::Target { position, token, digest };
        }
        RowDigest { digest, is_broken }
    }

    /// The token at a position of a source, which all pieces hold. One position of a page tells of a whole piece.
    fn read_source(&mut self, targets: &TargetBatch, span: &PageSpan, index: usize) -> u32 {
        let first = *self.source_cell(targets.tables.of(0), span, index);
        let is_told = index.is_multiple_of(self.source_page_tokens) || index + 1 == span.tokens as usize;
        for piece in (1..self.pieces.all).filter(|_| is_told) {
            let other = *self.source_cell(targets.tables.of(piece), span, index);
            assert_eq!(other, first, "source position {index} differs between pieces");
        }
        match first {
            Cell::Source { position, token } if position == index => token,
            other => panic!("source position {index} holds {other:?}"),
        }
    }

    fn source_cell(&mut self, tables: &[u32], span: &PageSpan, position: usize) -> &mut Cell {
        self.cell(tables, span, position, self.source_page_tokens)
    }

    fn target_cell(&mut self, tables: &[u32], span: &PageSpan, position: usize) -> &mut Cell {
        self.cell(tables, span, position, PAGE_TOKENS)
    }

    fn cell(&mut self, tables: &[u32], span: &PageSpan, position: usize, page_tokens: usize) -> &mut Cell {
        let page = tables[span.first as usize + position / page_tokens];
        &mut self.pages[page as usize][position % page_tokens]
    }
}

fn sources_of(step: &EncodeWork) -> Vec<Vec<u32>> {
    let rows: u32 = step.segments.iter().map(|segment| segment.len).sum();
    assert_eq!([step.tokens.len(), step.positions.len()], [rows as usize; 2], "the batch has no padding");
    let of_segment = |segment: &kernels::Segment| {
        let rows = segment.start as usize..(segment.start + segment.len) as usize;
        assert!(step.positions[rows.clone()].iter().copied().eq(0..segment.len));
        step.tokens[rows].to_vec()
    };
    step.segments.iter().map(of_segment).collect()
}

/// Puts a digest in the place of log-probabilities.
pub fn hold_digest(held: &HeldScore, token: u32, digest: u64) {
    let half = |id: u64, rank: u64| Candidate { id: id as u32, log_prob: 0.0, rank: rank as u32 };
    let (low, high) = (digest & u64::from(u32::MAX), digest >> 32);
    held.hold(TokenScore { chosen: half(token.into(), 0), top: vec![half(low, high)] });
}

/// The digest that [`hold_digest`] put there.
pub fn digest_in(held: &HeldScore) -> u64 {
    let digest = held.get().unwrap().top[0];
    u64::from(digest.rank) << 32 | u64::from(digest.id)
}
