//! A plan: the work of one step in three parts, encode work, target rows and outputs.
//!
//! Written by the scheduler, read by the executor. Ragged arrays, ready for the kernels; reused from step to step, so
//! that a step of steady decoding allocates nothing.

use std::ops::Range;

use kernels::{BestAsk, Draw, DrawRules, NO_PLACE, PageCopy, PageSpan, Segment};
use model::{CrossPages, ENCODER_LANES, EncoderParts, LayerParts, PageTables, ReadoutAsk, SourceRows};

use super::place::MaskAsk;
use crate::request::Readout;

/// The work of one step. Encode work and target rows belong to different sequences and may run in any order.
#[derive(Debug, Default)]
pub struct Plan {
    /// Work of the encoder; see [`Self::encode`].
    pub(super) encode: EncodeWork,
    /// Pieces of pages to be copied before the target rows run.
    pub copies: Vec<PageCopy>,
    /// Decoder rows.
    pub targets: TargetBatch,
    /// Target rows whose logits are needed, ascending by row.
    pub outputs: Vec<Output>,
    /// Rules on what the draws of the outputs may choose.
    pub rules: DrawRules,
    /// Masks that the rules need before anything is drawn.
    pub masks: Vec<MaskAsk>,
}

impl Plan {
    /// Whether there is nothing to run. An empty plan is committed like any other.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.encode.parts.is_empty()
    }

    /// The encode work of the step, if there is any.
    pub fn encode(&self) -> Option<&EncodeWork> {
        (!self.encode.parts.is_empty()).then_some(&self.encode)
    }

    /// How a token is drawn, for each output from which one is.
    pub fn draws(&self) -> impl Iterator<Item = &Draw> {
        self.outputs.iter().filter_map(|output| output.draw.as_ref())
    }

    /// Candidates that are read, for each output from which some are.
    pub fn best_asks(&self) -> impl Iterator<Item = &BestAsk> {
        self.outputs.iter().filter_map(|output| output.best.as_ref())
    }

    /// Empties all parts and keeps their memory.
    pub(super) fn clear(&mut self) {
        self.encode.clear();
        self.copies.clear();
        self.targets.clear();
        self.outputs.clear();
        self.rules.clear();
        self.masks.clear();
    }
}

/// The part of the encoder's working memory that a batch keeps its activations in. Batches in different lanes do not
/// disturb each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// Batches that keep to the token budget of a step.
    #[default]
    Short,
    /// One source at a time that is longer than the budget.
    Long,
}

impl Lane {
    /// All lanes, in the order of their indices.
    pub const ALL: [Self; ENCODER_LANES] = [Self::Short, Self::Long];

    /// The lane's index in the model's working memory.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Parts of the encoder's work to run for a batch of sources. A batch in [`Lane::Short`] runs all layers in one step. A
/// long source may take several steps, and even several for a layer: its rows stay the same from the first step to the
/// last, and the executor keeps its activations in between, though batches in the other lane may run. A batch that
/// nobody needs any more is abandoned without notice; the next one in its lane begins with part 0.
#[derive(Debug, Default)]
pub struct EncodeWork {
    /// The batch's lane.
    pub lane: Lane,
    /// Source ids of the whole batch, one for each row.
    pub tokens: Vec<u32>,
    /// Position of each row in its source.
    pub positions: Vec<u32>,
    /// Rows of each source.
    pub segments: Vec<Segment>,
    /// Parts to run. The ids are embedded before part 0.
    pub parts: Range<usize>,
    /// Parts of each layer.
    pub of_layer: LayerParts,
    /// Parts of the whole work on the batch.
    pub all_parts: usize,
    /// Whether the last part is among them; the cross K/V are then written, and the results read, in this step.
    pub is_last: bool,
    /// Pages of the first segments, whose cross K/V sequences read, `tokens` = its length. Only when `is_last`.
    pub cross_spans: Vec<PageSpan>,
    /// Page tables that `cross_spans` point into.
    pub tables: PageTables,
    /// Results that encoder requests read of the segments after those. Only when `is_last`.
    pub readouts: Vec<Readout>,
}

impl EncodeWork {
    /// Whether the batch begins, so that its ids are to be embedded.
    pub const fn is_first(&self) -> bool {
        self.parts.start == 0
    }

    /// The rows of the whole batch.
    pub fn rows(&self) -> SourceRows<'_> {
        SourceRows { tokens: &self.tokens, positions: &self.positions, segments: &self.segments }
    }

    /// The parts to run.
    pub fn encoder_parts(&self) -> EncoderParts {
        EncoderParts { range: self.parts.clone(), of_layer: self.of_layer }
    }

    /// The segments whose cross K/V are written in this step, with their pages.
    pub fn cross_pages(&self) -> Option<CrossPages<'_>> {
        let (spans, tables) = (&self.cross_spans, &self.tables);
        (!spans.is_empty()).then(|| CrossPages { segments: &self.segments[..spans.len()], spans, tables })
    }

    /// The results to be read, with the segments that they are of. Only when `is_last`.
    pub fn asked(&self) -> Vec<ReadoutAsk> {
        let segments = self.segments[self.cross_spans.len()..].iter();
        segments.zip(&self.readouts).map(|(&segment, &readout)| ReadoutAsk { segment, readout }).collect()
    }

    /// Appends a source of the batch.
    pub(super) fn push(&mut self, ids: &[u32]) {
        let (start, len) = (narrow(self.tokens.len()), narrow(ids.len()));
        self.tokens.extend_from_slice(ids);
        self.positions.extend(0..len);
        self.segments.push(Segment { start, len });
    }

    fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.segments.clear();
        self.parts = 0..0;
        self.is_last = false;
        self.cross_spans.clear();
        self.tables.clear();
        self.readouts.clear();
    }
}

/// Decoder rows of a step. Rows of one sequence are consecutive, positions ascending.
#[derive(Debug, Default)]
pub struct TargetBatch {
    /// Token id of each row; unused where `places` names a drawn token.
    pub tokens: Vec<u32>,
    /// Index of each row's token among the tokens that the previous plan draws, or [`NO_PLACE`] where `tokens` has it.
    /// Only a plan that was made ahead reads drawn tokens.
    pub places: Vec<u32>,
    /// Position of each row's token; the start token has position 0.
    pub positions: Vec<u32>,
    /// Self-attention pages of each row, `tokens` = its position + 1.
    pub self_spans: Vec<PageSpan>,
    /// Cross-attention pages of each row, `tokens` = the source's length.
    pub cross_spans: Vec<PageSpan>,
    /// Page tables that all spans of these rows point into.
    pub tables: PageTables,
}

/// Where the token of a row comes from.
#[derive(Debug, Clone, Copy)]
pub enum RowToken {
    /// The token is known.
    Known(u32),
    /// The previous plan draws it, as the draw of this index.
    Drawn(u32),
}

/// One decoder row.
#[derive(Debug, Clone, Copy)]
pub struct TargetRow {
    /// The row's token.
    pub token: RowToken,
    /// Its position.
    pub position: usize,
    /// Index in the tables of the sequence's first target page.
    pub first_page: u32,
    /// Pages of the sequence's source.
    pub cross_span: PageSpan,
}

impl TargetBatch {
    /// Number of rows.
    pub const fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are no rows.
    pub const fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Appends a row and returns its index.
    pub(super) fn push(&mut self, row: TargetRow) -> u32 {
        let index = narrow(self.len());
        let (token, place) = match row.token {
            RowToken::Known(token) => (token, NO_PLACE),
            RowToken::Drawn(place) => (0, place),
        };
        self.tokens.push(token);
        self.places.push(place);
        self.positions.push(narrow(row.position));
        self.self_spans.push(PageSpan { first: row.first_page, tokens: narrow(row.position + 1) });
        self.cross_spans.push(row.cross_span);
        index
    }

    fn clear(&mut self) {
        self.tokens.clear();
        self.places.clear();
        self.positions.clear();
        self.self_spans.clear();
        self.cross_spans.clear();
        self.tables.clear();
    }
}

/// A target row whose logits are needed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Output {
    /// The target row.
    pub row: u32,
    /// Whether log-probabilities are read; all logits of the row are then needed.
    pub is_scored: bool,
    /// How a token is drawn from the logits, with this output's index as its row.
    pub draw: Option<Draw>,
    /// Which candidates a beam search reads from the logits, with this output's index as their row. All logits of the
    /// row are then needed, and no token is drawn.
    pub best: Option<BestAsk>,
}

/// Converts a count of rows, positions or pages to the 32 bits that the kernels read.
pub(super) fn narrow(count: usize) -> u32 {
    u32::try_from(count).expect("no plan has 2^32 rows, positions or pages")
}
