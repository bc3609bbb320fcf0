//! A loaded model with pages and a workspace, driven by hand: what a test needs of an engine.
//!
//! Shared by this crate's integration tests, each of which uses part of it.
#![allow(dead_code, clippy::unwrap_used)]

use kernels::{Backend, Candidate, Draw, Draws, PAGE_TOKENS, PageSpan, ScoreAsk, Segment};
use model::{
    Arithmetic, CrossPages, Model, PageTables, RowTokens, SourceRows, TargetRows, WeightSource, Workspace,
    WorkspaceLimits,
};

/// Pages of a sequence in these tests: enough for the longest fixture.
const SEQUENCE_PAGES: u32 = 40;

/// A model and everything it writes to.
pub struct Runner<B: Backend> {
    pub model: Model<B>,
    pub space: Workspace<B>,
    pages: B::Pages,
    page_count: u32,
}

/// A source with the target written so far, in its own fixed stretch of pages.
pub struct Sequence {
    index: u32,
    source_len: u32,
    pub tokens: Vec<u32>,
}

/// The rows of one step, laid out ahead of it.
#[derive(Default)]
pub struct StepRows {
    wanted: Vec<u32>,
    tokens: Vec<u32>,
    positions: Vec<u32>,
    self_spans: Vec<PageSpan>,
    cross_spans: Vec<PageSpan>,
    tables: PageTables,
}

impl Sequence {
    fn cross_span(&self) -> PageSpan {
        PageSpan { first: 2 * self.index * SEQUENCE_PAGES, tokens: self.source_len }
    }

    fn self_span(&self, position: usize) -> PageSpan {
        PageSpan { first: (2 * self.index + 1) * SEQUENCE_PAGES, tokens: position as u32 + 1 }
    }
}

impl<B: Backend> Runner<B> {
    /// Loads a model with room for `sequences` sequences.
    pub fn new(backend: B, source: &dyn WeightSource, arithmetic: impl Into<Arithmetic>, sequences: u32) -> Self {
        let model = Model::load(backend, source, arithmetic, &mut |_| ()).unwrap();
        let limits = WorkspaceLimits { lane_rows: [4096, 0], target_rows: 64, logits_rows: 64 };
        let space = model.workspace(limits).unwrap();
        let page_count = 2 * sequences * SEQUENCE_PAGES;
        let pages = model.pages(page_count as usize).unwrap();
        Self { model, space, pages, page_count }
    }

    /// Tables of all pages, which are dealt backwards so that neighbours in a sequence are not neighbours in memory.
    fn tables(&self) -> PageTables {
        PageTables::in_order((0..self.page_count).rev(), self.model.page_pieces().all)
    }

    /// Encodes sources in one ragged batch, `step` layers to a call; gives their states and sequences.
    pub fn encode(&mut self, sources: &[&[u32]], step: usize) -> (Vec<f32>, Vec<Sequence>) {
        let tokens: Vec<u32> = sources.concat();
        let positions: Vec<u32> = sources.iter().flat_map(|s| 0..s.len() as u32).collect();
        let mut segments = Vec::new();
        sources.iter().fold(0, |start, source| {
            segments.push(Segment { start, len: source.len() as u32 });
            start + source.len() as u32
        });
        let layers = self.model.config().encoder.layers;
        for first in (0..layers).step_by(step) {
            let rows = SourceRows { tokens: &tokens, positions: &positions, segments: &segments };
            self.model.encode(rows, first..layers.min(first + step), 0, &mut self.space);
        }
        let start = self.model.config().start_token;
        let sequences: Vec<Sequence> = (0..)
            .zip(sources)
            .map(|(index, source)| {
                assert!(source.len() <= SEQUENCE_PAGES as usize * PAGE_TOKENS);
                Sequence { index, source_len: source.len() as u32, tokens: vec![start] }
            })
            .collect();
        let spans: Vec<PageSpan> = sequences.iter().map(Sequence::cross_span).collect();
        let tables = self.tables();
        let targets = CrossPages { segments: &segments, spans: &spans, tables: &tables };
        self.model.write_cross(targets, 0, &mut self.pages, &mut self.space);
        (self.model.encoder_states(tokens.len(), 0, &self.space), sequences)
    }

    /// A sequence without a source, as only merged attention takes it.
    pub fn without_source(&self) -> Sequence {
        Sequence { index: 0, source_len: 0, tokens: vec![self.model.config().start_token] }
    }

    /// The positions `from ..` of each sequence as the rows of one step.
    pub fn rows(&self, sequences: &[Sequence], from: impl Fn(&Sequence) -> usize) -> StepRows {
        let mut rows = StepRows { tables: self.tables(), ..StepRows::default() };
        for sequence in sequences {
            for position in from(sequence)..sequence.tokens.len() {
                rows.wanted.push(rows.tokens.len() as u32);
                rows.tokens.push(sequence.tokens[position]);
                rows.positions.push(position as u32);
                rows.self_spans.push(sequence.self_span(position));
                rows.cross_spans.push(sequence.cross_span());
            }
        }
        rows
    }

    /// Runs one step and leaves the logits of all its rows.
    pub fn run(&mut self, rows: &StepRows) {
        self.run_with(RowTokens::Host(&rows.tokens), rows);
    }

    /// Runs one step whose tokens come from elsewhere, and leaves the logits of all its rows.
    pub fn run_with(&mut self, tokens: RowTokens<'_, B::Drawn>, rows: &StepRows) {
        let StepRows { wanted, positions, self_spans, cross_spans, tables, .. } = rows;
        let rows = TargetRows { tokens, positions, self_spans, cross_spans, tables };
        self.model.decode(rows, &mut self.pages, &mut self.space);
        self.model.select(wanted, &mut self.space);
        self.model.logits(wanted.len(), &mut self.space);
    }

    /// Runs the positions `from ..` of each sequence in one step and leaves the logits of all rows.
    pub fn step(&mut self, sequences: &[Sequence], from: impl Fn(&Sequence) -> usize) -> usize {
        let rows = self.rows(sequences, from);
        self.run(&rows);
        rows.tokens.len()
    }

    /// Writes `count` greedy tokens for each sequence, all sequences in every step; gives them with their scores.
    pub fn greedy(&mut self, sequences: &mut [Sequence], count: usize) -> Vec<Vec<(Candidate, Vec<Candidate>)>> {
        let mut written = vec![Vec::new(); sequences.len()];
        for _ in 0..count {
            let rows = self.step(sequences, |sequence| sequence.tokens.len() - 1) as u32;
            let draws: Vec<Draw> = (0..rows).map(Draw::greedy).collect();
            let ids = self.sample(Draws::free(&draws));
            for (row, (sequence, id)) in sequences.iter_mut().zip(ids).enumerate() {
                let id = id.expect("logits are numbers");
                written[row].push(self.score(row, id, 5));
                sequence.tokens.push(id);
            }
        }
        written
    }

    /// Ids drawn from the last logits.
    pub fn sample(&self, draws: Draws<'_>) -> Vec<Option<u32>> {
        let (mut drawn, mut ids) = (self.model.drawn(draws.list.len()).unwrap(), Vec::new());
        self.model.sample(draws, &self.space, &mut drawn);
        self.model.backend().take(&mut drawn, &mut ids);
        ids
    }

    /// Log-probability of an id in a row of the last logits, and of the best ids.
    pub fn score(&self, row: usize, id: u32, top: u32) -> (Candidate, Vec<Candidate>) {
        let mut scores = Vec::new();
        self.model.score(&[ScoreAsk { row: row as u32, id, top }], &self.space, &mut scores);
        let score = scores.remove(0);
        (score.chosen, score.top)
    }
}
